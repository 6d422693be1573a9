"""The sort of a rank's own rows by one column of numbers or times: each key and its row's number are packed into one
64-bit number, and these are sorted.

A sort of plain numbers needs no look at the rows, and processors do several at once: it takes a sixth of the time
that sorting pairs of key and row does. Equal keys stay in the order of their rows. Keys too wide to be packed are first
cut short; what is left tied is put right afterwards.

Source of the sort itself: Bingmann, Blacher and others, Vectorized and performance-portable quicksort, Software:
Practice and Experience 52 (2022), as NumPy has it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64)
_BITS = 64
_CHUNK_ROWS = 1 << 15  # What is worked on stays in the cache.
# With one of these NumPy sorts many numbers at once.
_VECTORS = {"AVX2", "AVX512_SKX", "X86_V3", "X86_V4", "ASIMD"}


def packs(dtype: pl.DataType) -> bool:
    """Whether rows can be sorted so by a key of this type."""
    return dtype in _NUMBERS or dtype.is_temporal()


def sorted_by(columns: list[pl.Series], name: str, *, descending: bool = False) -> pl.DataFrame:
    """The rows by a column that `packs` and has no null; rows with equal keys keep their order, NaN is the largest.

    Takes the columns out of the list: as many at a time as there are threads are in one piece, put in order, and freed.
    """
    if len(columns[0]) < 2:
        return pl.DataFrame(columns)
    place = [column.name for column in columns].index(name)
    columns[place] = columns[place].rechunk()
    order = pl.Series(row_order(_comparable(columns[place]), descending=descending))
    ordered: list[pl.Series] = []
    while columns:
        taken = pl.DataFrame([columns.pop(0) for _ in range(min(len(columns), pl.thread_pool_size()))])
        ordered += taken.rechunk()[order].get_columns()
    return pl.DataFrame(ordered).with_columns(ordered[place].set_sorted(descending=descending))


def row_order(keys: NDArray[Any], *, descending: bool) -> NDArray[np.uint32]:
    """The numbers of the rows in the stable order of their keys, which are int64 or uint64."""
    low, high = keys.min(), keys.max()
    row_bits = (len(keys) - 1).bit_length()
    surplus = max(0, (int(high) - int(low)).bit_length() + row_bits - _BITS)
    # Differences are right as unsigned numbers, though they may be too large for signed ones.
    packed = (high - keys if descending else keys - low).view(np.uint64)
    for begin in range(0, len(keys), _CHUNK_ROWS):
        chunk = packed[begin : begin + _CHUNK_ROWS]
        chunk >>= np.uint64(surplus)
        chunk <<= np.uint64(row_bits)
        chunk |= np.arange(begin, begin + len(chunk), dtype=np.uint64)
    packed = _sorted(packed)
    order = np.empty(len(keys), dtype=np.uint32)
    np.bitwise_and(packed, np.uint64((1 << row_bits) - 1), out=order, casting="unsafe")
    if surplus:
        _untie(order, packed >> np.uint64(row_bits), keys, descending=descending)
    return order


def _untie(order: NDArray[np.uint32], cut: NDArray[np.uint64], keys: NDArray[Any], *, descending: bool) -> None:
    """Put rows right whose keys only differ in what was cut off; `cut` is what was left of them, in order."""
    tied = np.zeros(len(order), dtype=bool)
    np.equal(cut[1:], cut[:-1], out=tied[1:])
    tied[:-1] |= tied[1:]
    rows = order[tied]
    found = pl.Series(keys).gather(pl.Series(rows)).to_numpy()
    if descending:
        found = ~found  # Complements are in the opposite order.
    if (found[1:] < found[:-1]).any():
        order[tied] = rows[np.argsort(found, kind="stable")]


def _comparable(key: pl.Series) -> NDArray[Any]:
    """64-bit integers in the order of the key's values."""
    values = key.to_physical().to_numpy()
    if values.dtype == np.uint64:
        return values
    if values.dtype.kind != "f":
        return values.astype(np.int64, copy=False)
    floats = values.astype(np.float64) + 0.0  # -0.0 equals 0.0.
    floats[np.isnan(floats)] = np.nan
    bits = floats.view(np.int64)
    # The bits of a negative number grow as it gets smaller.
    return bits ^ ((bits >> 63) & np.int64(np.iinfo(np.int64).max))


def _sorted(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    if _has_vectors():
        numbers.sort()
        return numbers
    return pl.Series(numbers).sort().to_numpy()


@cache
def _has_vectors() -> bool:
    found: Any = np.show_config(mode="dicts")
    extensions = found.get("SIMD Extensions", {})
    return not _VECTORS.isdisjoint([*extensions.get("baseline", []), *extensions.get("found", [])])
