"""What files say of themselves without being read: how many rows they have, and how wide those are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from deeprc.table.estimate import measured, widths
from deeprc.table.files import rows_in

Statistics = tuple[float, Mapping[str, float]]
_SAMPLE_ROWS = 1000
_SAMPLE_BYTES = 1 << 16
_PACKED = (".gz", ".zst", ".zip")
_PACKING_RATIO = 5
_TYPICAL_LINE_BYTES = 80


def of_files(
    files: Sequence[str], scan: Callable[[Sequence[str]], pl.LazyFrame], counted: bool, limit: int | None
) -> Statistics | None:
    """Rows of all files, and the mean bytes of each column's values in the first rows.

    `counted` says that the files hold their number of rows; else it is guessed from the length of the first
    lines. None where the files cannot be looked at.
    """
    try:
        sample = scan(files[:1]).head(_SAMPLE_ROWS).collect()
        rows = float(rows_in(scan(files))) if counted else _lines(files)
    except (pl.exceptions.PolarsError, OSError):
        return None
    return rows if limit is None else min(rows, limit), measured(sample)


def _lines(files: Sequence[str]) -> float:
    sizes = [Path(file).stat().st_size * (_PACKING_RATIO if file.endswith(_PACKED) else 1) for file in files]
    plain = [file for file in files if not file.endswith(_PACKED)]
    if not plain:
        return sum(sizes) / _TYPICAL_LINE_BYTES
    with Path(plain[0]).open("rb") as file:
        start = file.read(_SAMPLE_BYTES)
    lines = start.count(b"\n") + (not start.endswith(b"\n")) if start else 0
    return sum(sizes) * lines / len(start) if start else 0.0


def of_frame(frame: pl.LazyFrame | pl.DataFrame | None) -> Statistics | None:
    """Rows and widths of a frame that is in memory; no rows of none, nothing is known of a query."""
    if frame is None:
        return 0.0, {}
    return (float(frame.height), measured(frame)) if isinstance(frame, pl.DataFrame) else None


def joined(parts: Sequence[Statistics | None]) -> Statistics | None:
    """The statistics of a table whose parts have these."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    rows = sum(count for count, _ in known)
    names = {name for _, widths in known for name in widths}
    return rows, {name: sum(count * widths.get(name, 0) for count, widths in known) / max(rows, 1) for name in names}


def of_bytes(row_bytes: float, schema: Mapping[str, pl.DataType]) -> Mapping[str, float]:
    """The bytes of a row, shared among its columns as their types would have it."""
    shares = widths(schema)
    total = sum(shares.values())
    return {name: row_bytes * share / total for name, share in shares.items()}
