"""What the footers of Parquet files say of their row groups: rows, nulls, least and largest values, as a frame.

Bounds are in the types of the scan, so that they compare as the values do. They bound all values but nulls and NaN,
which the format keeps out of them; text may have been cut, and then bounds all the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from deeprc.table.files.statistics import Bounds, bounds_of

ROWS = "rows"
_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}
_BOUNDED = (pl.String, pl.Boolean, pl.Date, pl.Time, pl.Float32, pl.Float64)


def least(column: str) -> str:
    """Where the frame has the least values of a column; null where they are not known."""
    return f"least {column}"


def largest(column: str) -> str:
    """Where the frame has the largest values of a column; null where they are not known."""
    return f"largest {column}"


def nulls(column: str) -> str:
    """Where the frame has the number of nulls of a column; null where it is not known."""
    return f"nulls {column}"


def group_statistics(path: str, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """One row for each row group of a file, in order.

    Raises:
        OSError, pyarrow.ArrowException: the file is not one that Arrow reads.
    """
    from pyarrow import parquet

    with parquet.ParquetFile(path) as opened:
        footer, types = opened.metadata, opened.schema_arrow
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    found = [pl.Series(ROWS, [group.num_rows for group in groups], dtype=pl.Int64)]
    places = {footer.schema.column(place).path: place for place in range(footer.num_columns) if _is_flat(footer, place)}
    for name, dtype in columns.items():
        chunks = [group.column(places[name]) for group in groups] if name in places else []
        known = [chunk.statistics if chunk.is_stats_set else None for chunk in chunks] or [None] * len(groups)
        exact = name in places and _is_stored_as(dtype, types.field(name), footer.schema.column(places[name]))
        lows, highs = (_bounds(known if exact else [None] * len(groups), which, dtype) for which in ("min", "max"))
        counts = [each.null_count if each is not None and each.has_null_count else None for each in known]
        found += [lows.alias(least(name)), highs.alias(largest(name)), pl.Series(nulls(name), counts, dtype=pl.Int64)]
    return pl.DataFrame(found)


def bounds_of_groups(groups: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> Mapping[str, Bounds]:
    """Bounds of numbers and times over all groups; of a column of which some group says none, none."""
    found = {}
    for name, dtype in columns.items():
        low, high, counts = (groups[which(name)] for which in (least, largest, nulls))
        untold = (low.is_null() & ~(counts == groups[ROWS]).fill_null(value=False)).any()
        if untold or not (dtype.is_numeric() or dtype.is_temporal()):
            continue
        total = None if counts.null_count() else float(sum(counts.to_list()))
        bounds = bounds_of(low, high, total, float(sum(groups[ROWS].to_list())))
        if bounds is not None:
            in_order = groups.height > 1 and bool((low.drop_nulls().shift(-1) >= high.drop_nulls()).all())
            found[name] = replace(bounds, sorted_by=in_order)
    return found


def _is_flat(footer: Any, place: int) -> bool:
    """Whether it is a column of the table, and no field of one, which may have the same path."""
    column = footer.schema.column(place)
    return bool(column.name == column.path and column.max_repetition_level == 0)


def _is_stored_as(dtype: pl.DataType, field: Any, column: Any) -> bool:
    """Whether the file's values are of this type, and its statistics numbers in the same unit."""
    if not (isinstance(dtype, _BOUNDED) or dtype.is_integer() or dtype.is_decimal() or dtype.is_temporal()):
        return False
    import pyarrow as pa

    as_read = pl.from_arrow(pa.schema([field]).empty_table())
    if not isinstance(as_read, pl.DataFrame) or as_read.dtypes != [dtype]:
        return False
    if isinstance(dtype, pl.Duration):
        return bool(field.type.unit == dtype.time_unit)
    if not isinstance(dtype, pl.Datetime | pl.Time):
        return True
    unit = _UNITS.get(json.loads(column.logical_type.to_json()).get("timeUnit"))
    return unit == (dtype.time_unit if isinstance(dtype, pl.Datetime) else "ns")


def _bounds(known: Sequence[Any], which: str, dtype: pl.DataType) -> pl.Series:
    values = [None if each is None or not each.has_min_max else _bound(each, which, dtype) for each in known]
    if all(value is None for value in values):
        return pl.Series(values, dtype=dtype)
    if dtype.is_temporal():
        return pl.Series(values, dtype=pl.Int64).cast(dtype)
    return pl.Series(values, dtype=dtype)


def _bound(statistics: Any, which: str, dtype: pl.DataType) -> Any:
    if dtype.is_temporal():
        return getattr(statistics, f"{which}_raw")
    try:
        value = getattr(statistics, which)
    except UnicodeDecodeError:  # Of text that was cut within a letter.
        return None
    return None if isinstance(value, float) and math.isnan(value) else value
