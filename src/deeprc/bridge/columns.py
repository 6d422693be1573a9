"""One column of the mapped parts as a NumPy array: the file's own memory where its layout is the array's.

Numbers, dates, times, enums and arrays of numbers are the mapped memory, if they have no nulls and all rows
are in one part. Everything else is a copy, nulls included:

| column | array | null |
|---|---|---|
| integers, floats | the same type | NaN; integers become float64 |
| Boolean | bool | NaN; becomes float32 |
| Date, Datetime, Duration, Time | int32 days, or int64 in the column's unit | the smallest integer, NumPy's NaT |
| Enum | number of the category, unsigned | -1; becomes int64 |
| String, Categorical | int64, number of the value among the column's sorted distinct values | -1 |
| Decimal | float64 | NaN |
| Array of integers or floats | (row, width) of the same type | refused |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from deeprc.bridge.mapping import MappedPart
from deeprc.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_FLOATS = (pl.Float16, pl.Float32, pl.Float64)
_WIDE_INTEGERS = (pl.Int128, pl.UInt128)
Chunk: TypeAlias = "tuple[MappedPart, pa.Array]"
Converted = tuple[NDArray[Any], str]
"""The array, and why it is a copy; an empty reason means that it is the mapped memory."""


def is_convertible(dtype: pl.DataType) -> bool:
    """Whether a column of this type has an array form."""
    if isinstance(dtype, pl.Array):
        return len(dtype.shape) == 1 and _is_plain_number(dtype.inner)
    return (
        _is_plain_number(dtype)
        or dtype.is_temporal()
        or dtype in (pl.Boolean, pl.String, pl.Decimal)
        or _is_categorical(dtype)
    )


def to_array(name: str, parts: Sequence[MappedPart], dtype: pl.DataType) -> Converted:
    """Convert one column of all parts.

    Raises:
        DataError: the type has no array form, or is Array and holds nulls.
    """
    chunks = [(part, chunk) for part in parts for chunk in part.table[name].chunks if len(chunk)]
    if not is_convertible(dtype):
        raise DataError(
            f"column {name!r} is {dtype}, which has no array form. Choose other columns, or cast it to numbers, "
            "booleans, strings, dates or times first"
        )
    if isinstance(dtype, pl.Array):
        return _matrix(name, chunks, dtype)
    if _is_plain_number(dtype) or dtype.is_temporal() or isinstance(dtype, pl.Enum):
        return _numbers(chunks, dtype)
    return _translated([chunk for _, chunk in chunks], dtype)


def _is_plain_number(dtype: Any) -> bool:
    return bool(dtype in _FLOATS or (dtype.is_integer() and dtype not in _WIDE_INTEGERS))


def _is_categorical(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Categorical | pl.Enum)


def _numbers(chunks: Sequence[Chunk], dtype: pl.DataType) -> Converted:
    """Columns whose Arrow buffer is the array, unless there are nulls or several parts."""
    nulls = sum(chunk.null_count for _, chunk in chunks)
    if nulls:
        filled = np.concatenate([_without_nulls(part, chunk, dtype) for part, chunk in chunks])
        return filled, f"{nulls} null{'s' * (nulls > 1)}, which an array has no place for, became {_stand_in(dtype)}"
    return _joined([_view(part, chunk, dtype) for part, chunk in chunks], dtype)


def _joined(arrays: list[NDArray[Any]], dtype: Any) -> Converted:
    if not arrays:
        return np.empty(0, _array_type(dtype)), ""
    if len(arrays) == 1:
        return arrays[0], ""
    return np.concatenate(arrays), f"its rows lie in {len(arrays)} parts, and an array is one piece of memory"


def _view(part: MappedPart, chunk: pa.Array, dtype: Any) -> NDArray[Any]:
    values = chunk.indices if isinstance(dtype, pl.Enum) else chunk
    return part.view(values.buffers()[1], _array_type(dtype))[values.offset : values.offset + len(values)]


def _array_type(dtype: Any) -> np.dtype[Any]:
    """The type of the column's buffer: for dates, times and categories the integer behind it."""
    physical: NDArray[Any] = pl.Series([], dtype=dtype).to_physical().to_numpy()
    return physical.dtype


def _stand_in(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Enum):
        return "-1"
    return "the smallest integer (NaT)" if dtype.is_temporal() else "NaN"


def _without_nulls(part: MappedPart, chunk: pa.Array, dtype: pl.DataType) -> NDArray[Any]:
    missing = np.asarray(chunk.is_null())
    values = _view(part, chunk, dtype)
    if isinstance(dtype, pl.Enum):
        values = values.astype(np.int64)
        values[missing] = -1
    elif dtype.is_temporal():
        values = values.copy()
        values[missing] = np.iinfo(values.dtype).min
    else:
        values = values.astype(values.dtype if dtype in _FLOATS else np.float64)
        values[missing] = np.nan
    return values


def _matrix(name: str, chunks: Sequence[Chunk], dtype: pl.Array) -> Converted:
    """Rows of a fixed width, which lie one after another in Arrow as they do in an array."""
    inner = [(part, chunk.values.slice(chunk.offset * dtype.size, len(chunk) * dtype.size)) for part, chunk in chunks]
    if any(chunk.null_count for _, chunk in chunks) or any(values.null_count for _, values in inner):
        raise DataError(f"column {name!r} is {dtype} and holds nulls, which an array has no place for; fill them first")
    array, reason = _joined([_view(part, values, dtype.inner) for part, values in inner], dtype.inner)
    return array.reshape(-1, dtype.size), reason


def _translated(chunks: Sequence[pa.Array], dtype: pl.DataType) -> Converted:
    """Columns whose layout in Arrow is not that of an array."""
    import pyarrow as pa

    series = pl.Series(pl.from_arrow(pa.chunked_array(chunks))) if chunks else pl.Series([], dtype=dtype)
    if dtype == pl.Boolean:
        reason = "Arrow keeps a boolean in one bit, an array in one byte"
        array = series.cast(pl.Float32).to_numpy() if series.null_count() else series.to_numpy()
        return _own(array), reason
    if isinstance(dtype, pl.Decimal):
        return _own(series.cast(pl.Float64).to_numpy()), "arrays have no decimal type"
    codes = series.cast(pl.String).rank("dense").cast(pl.Int64) - 1
    return _own(codes.fill_null(-1).to_numpy()), "text became the number of its value among the sorted distinct values"


def _own(array: NDArray[Any]) -> NDArray[Any]:
    """A writable array: Polars hands out read-only views of its own memory."""
    return array if array.flags.writeable else array.copy()
