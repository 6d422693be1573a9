"""What tables are known to hold before they are read: rows, the bytes of their values, how many values differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from deeprc.table.files.files import rows_in

_SAMPLE_ROWS = 1000
_SAMPLE_BYTES = 1 << 16
_PACKED = (".gz", ".zst", ".zip")
_PACKING_RATIO = 5
_TYPICAL_LINE_BYTES = 80
_WIDTHS: dict[type[pl.DataType], int] = {
    pl.Boolean: 1,
    pl.Int8: 1,
    pl.UInt8: 1,
    pl.Int16: 2,
    pl.UInt16: 2,
    pl.Int32: 4,
    pl.UInt32: 4,
}
_WIDTHS |= {pl.Float32: 4, pl.Date: 4, pl.Categorical: 4, pl.Enum: 4, pl.Null: 1}
_WIDTHS |= {pl.Int128: 16, pl.UInt128: 16, pl.Decimal: 16, pl.String: 24, pl.Binary: 24}
_NUMBER, _NESTED = 8, 32


@dataclass(frozen=True)
class Bounds:
    """Between which numbers a column's values lie, and which part of them are nulls, if that is known.

    Of times these are the numbers that stand for them. `sorted_by` says that row groups are in the order of the column.
    """

    least: float
    largest: float
    nulls: float | None
    dtype: pl.DataType
    sorted_by: bool = False


@dataclass(frozen=True)
class Estimate:
    """Rows of all ranks together, and the bytes that a row's value of each column takes in memory.

    `counted` says that somebody has counted the rows, as files and frames do; else they are inferred.
    `distinct` has about how many values of a column differ, for the columns of which a sample was seen.
    `bounds` are those of numbers and times, where files or a random sample tell them.
    """

    rows: float
    widths: Mapping[str, float]
    distinct: Mapping[str, float] = field(default_factory=dict)
    counted: bool = False
    bounds: Mapping[str, Bounds] = field(default_factory=dict)

    @property
    def bytes(self) -> float:
        return self.rows * sum(self.widths.values())

    def __str__(self) -> str:
        rows = f"{'' if self.counted else 'about '}{round(self.rows):,} row{'s' * (round(self.rows) != 1)}"
        return f"{rows}, {'about ' * self.counted}{size_text(self.bytes)}"


def position(value: pl.Series, dtype: Any) -> float | None:
    """Where a constant lies among numbers that stand for values of a type; None where it has no such place."""
    if dtype is None or len(value) != 1 or value.null_count():
        return None
    if dtype.is_temporal() and value.dtype != dtype:
        value = value.cast(dtype)
    return _as_number(value)


def _as_number(value: pl.Series) -> float | None:
    if value.dtype.is_temporal():
        value = value.to_physical()
    number = value.cast(pl.Float64).item() if value.dtype.is_numeric() else None
    return None if number is None or not math.isfinite(number) else float(number)


def size_text(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def widths(schema: Mapping[str, pl.DataType]) -> Mapping[str, float]:
    """What a value of each column takes, as far as its type says."""
    return {name: _width(dtype) for name, dtype in schema.items()}


def _width(dtype: pl.DataType) -> float:
    return _NESTED if dtype.is_nested() else _WIDTHS.get(type(dtype), _NUMBER)


def estimated_groups(sampled: int, distinct: int, rows: int) -> float:
    """How many distinct keys `rows` rows have, from the repeats in a sample of them.

    A sample of s rows out of G equally likely keys repeats about s * s / (2 G) times (the birthday problem);
    in a small sample of few keys all keys have been seen.
    """
    repeats = sampled - distinct
    if repeats == 0:
        return float(rows)
    if sampled == rows or distinct < 0.5 * sampled:
        return float(distinct)
    return min(float(rows), sampled * sampled / (2 * repeats))


def groups_of_all(counts: pl.Series) -> float:
    """About how many groups a table has, given how many rows each group has in a random sample of it.

    A lower bound where groups differ much in size, and right to a few tenths where they do not. Source: Chao,
    Nonparametric estimation of the number of classes in a population, Scandinavian Journal of Statistics 11 (1984).
    """
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return len(counts) + once * (once - 1) / (2 * (twice + 1))


def of_files(
    files: Sequence[str],
    scan: Callable[[Sequence[str]], pl.LazyFrame],
    limit: int | None,
    *,
    counted: bool,
    headers: bool = False,
) -> Estimate | None:
    """Rows of all files; what the first rows say of the columns' values.

    `counted` says that the files hold their number of rows; else it is guessed from the length of the first
    lines, of which one a file is no row where there are `headers`. None where the files cannot be looked at.
    """
    try:
        sample = scan(files[:1]).head(_SAMPLE_ROWS).collect()
        rows = float(rows_in(scan(files))) if counted else max(0.0, _lines(files) - len(files) * headers)
    except (pl.exceptions.PolarsError, OSError):
        return None
    rows = rows if limit is None else min(rows, limit)
    return Estimate(rows, _measured(sample), _distinct(sample, round(rows)), counted)


def _lines(files: Sequence[str]) -> float:
    sizes = [Path(file).stat().st_size * (_PACKING_RATIO if file.endswith(_PACKED) else 1) for file in files]
    plain = [file for file in files if not file.endswith(_PACKED)]
    if not plain:
        return sum(sizes) / _TYPICAL_LINE_BYTES
    with Path(plain[0]).open("rb") as file:
        start = file.read(_SAMPLE_BYTES)
    lines = start.count(b"\n") + (not start.endswith(b"\n")) if start else 0
    return sum(sizes) * lines / len(start) if start else 0.0


def of_frame(frame: pl.LazyFrame | pl.DataFrame | None) -> Estimate | None:
    """Rows and widths of a frame that is in memory; no rows of none, nothing is known of a query."""
    if frame is None:
        return Estimate(0.0, {}, counted=True)
    if not isinstance(frame, pl.DataFrame):
        return None
    # Not every so many rows: columns are often periodic.
    sample = frame.sample(_SAMPLE_ROWS, seed=0) if frame.height > _SAMPLE_ROWS else frame
    distinct = _distinct(sample, frame.height)
    return Estimate(float(frame.height), _measured(frame), distinct, counted=True, bounds=_bounds_in(sample))


def _bounds_in(sample: pl.DataFrame) -> Mapping[str, Bounds]:
    columns = [column for column in sample if column.dtype.is_numeric() or column.dtype.is_temporal()]
    found = {column.name: bounds_of(column, column, column.null_count(), sample.height) for column in columns}
    return {name: bounds for name, bounds in found.items() if bounds is not None}


def bounds_of(low: pl.Series, high: pl.Series, nulls: float | None, rows: float) -> Bounds | None:
    """The bounds of a column, of which these are all values, or least and largest ones of groups of them."""
    if low.dtype.is_float():
        low, high = low.fill_nan(None), high.fill_nan(None)
    least, largest = (
        position(end, low.dtype) for end in (low.sort().drop_nulls().head(1), high.sort().drop_nulls().tail(1))
    )
    if least is None or largest is None:
        return None
    return Bounds(least, largest, nulls / rows if nulls is not None and rows else None, low.dtype)


def _measured(frame: pl.DataFrame) -> Mapping[str, float]:
    """What a value of each column takes, on the average of a frame."""
    if not frame.height:
        return widths(frame.schema)
    return {column.name: column.estimated_size() / frame.height for column in frame}


def _distinct(sample: pl.DataFrame, rows: int) -> Mapping[str, float]:
    plain = [column for column in sample if not column.dtype.is_nested()]
    return {column.name: estimated_groups(sample.height, column.n_unique(), rows) for column in plain}


def joined(parts: Sequence[Estimate | None]) -> Estimate | None:
    """What is known of a table whose parts have these: as many values differ as in all parts, if these differ too."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    rows = sum(part.rows for part in known)
    names = {name for part in known for name in part.widths}
    sizes = {name: sum(part.rows * part.widths.get(name, 0) for part in known) / max(rows, 1) for name in names}
    counted = all(part.counted for part in known)
    return Estimate(rows, sizes, _distinct_of_parts(known), counted, _bounds_of_parts(known))


def _bounds_of_parts(parts: Sequence[Estimate]) -> Mapping[str, Bounds]:
    filled = [part for part in parts if part.rows]
    names = {name for part in filled for name in part.bounds}
    found = {}
    for name in names:
        known = [part.bounds[name] for part in filled if name in part.bounds]
        nulls = sum(part.rows * (part.bounds[name].nulls or 0.0) for part in filled if name in part.bounds)
        ends = min(each.least for each in known), max(each.largest for each in known)
        found[name] = Bounds(*ends, nulls / sum(part.rows for part in filled), known[0].dtype)
    return found


def _distinct_of_parts(parts: Sequence[Estimate]) -> Mapping[str, float]:
    """Few values among many rows are the same in all parts; where nearly all rows differ, parts differ too."""
    filled = [part for part in parts if part.rows]
    names = {name for part in filled for name in part.distinct}
    result = {}
    for name in names:
        counts = [(part.rows, part.distinct.get(name, part.rows)) for part in filled]
        repeats = any(distinct < 0.5 * rows for rows, distinct in counts)
        result[name] = max(distinct for _, distinct in counts) if repeats else sum(distinct for _, distinct in counts)
    return result


def distinct_within(known: Estimate) -> Mapping[str, float]:
    """How many values differ, now that bounds are known: of whole numbers no more than lie between two bounds.

    Where a file is sorted by a column, its first rows have been seen, and later ones have other values.
    """
    found = dict(known.distinct)
    for name, bounds in known.bounds.items():
        if name not in found:
            continue
        if bounds.sorted_by:
            found[name] = min(known.rows, found[name] * max(1.0, known.rows / _SAMPLE_ROWS))
        if bounds.dtype.is_integer() or bounds.dtype == pl.Date:
            found[name] = min(found[name], bounds.largest - bounds.least + 1)
    return found


def of_bytes(row_bytes: float, schema: Mapping[str, pl.DataType]) -> Mapping[str, float]:
    """The bytes of a row, shared among its columns as their types would have it."""
    shares = widths(schema)
    total = sum(shares.values())
    return {name: row_bytes * share / total for name, share in shares.items()}
