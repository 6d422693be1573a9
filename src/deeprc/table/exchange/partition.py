"""Which rank a row belongs to: equal keys, equal rank, in every process and for every joinable type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

_SEED = 0x5DEECE66D
_FEW_RANKS = 8
_MOST_SHORT = 255  # Ranks, and their number, in one byte.


def ranks_by_key(frame: pl.DataFrame, keys: Sequence[pl.Expr], size: int, level: int = 0) -> pl.Series:
    """The rank of each row, from a hash of its keys that is the same in all processes; of a level as `key_hashes`."""
    comparable = _comparable_keys(frame, keys)
    if comparable.width == 1 and size <= _MOST_SHORT:
        # Piece by piece: the hashes themselves, eight bytes a row, are never all there.
        ranks = comparable.lazy().select((pl.first().hash(_SEED + level) % size).cast(pl.UInt8))
        return ranks.collect(engine="streaming").to_series()
    return comparable.hash_rows(_SEED + level) % size


def key_hashes(frame: pl.DataFrame, keys: Sequence[pl.Expr], level: int = 0) -> pl.Series:
    """A hash of each row's keys, the same in all processes; those of one level say nothing of those of another."""
    return _comparable_keys(frame, keys).hash_rows(_SEED + level)


def _comparable_keys(frame: pl.DataFrame, keys: Sequence[pl.Expr]) -> pl.DataFrame:
    values = frame.lazy().select(*keys).collect()
    return values.select(
        _comparable(pl.col(column), dtype).alias(f"key{index}")
        for index, (column, dtype) in enumerate(values.schema.items())
    )


def _comparable(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """One type for all types that Polars joins with each other, so that equal values hash alike."""
    if dtype == pl.UInt64:
        return column.reinterpret(signed=True)
    if dtype.is_integer():
        return column.cast(pl.Int64, strict=False)
    if dtype.is_float():
        return column.cast(pl.Float64)
    plain = _without_categories(dtype)
    return column if plain == dtype else column.cast(plain)


def _without_categories(dtype: pl.DataType) -> pl.DataType:
    """Categories are numbered by each process for itself: their text is what all processes share."""
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(_without_categories(_instance(dtype.inner)))
    if isinstance(dtype, pl.Array):
        return pl.Array(_without_categories(_instance(dtype.inner)), dtype.size)
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(field.name, _without_categories(_instance(field.dtype))) for field in dtype.fields])
    return dtype


def _instance(dtype: Any) -> pl.DataType:
    """Polars allows a class where it means its plain instance."""
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[no-any-return]


def split(frame: pl.DataFrame, ranks: pl.Series, size: int) -> list[pl.DataFrame]:
    """The rows for each rank, in their order.

    For few ranks a mask for each is the fastest; for many, one pass that groups the rows is.
    """
    if size <= _FEW_RANKS:
        return [frame.filter(ranks == rank) for rank in range(size)]
    numbered = pl.DataFrame({"rank": ranks}).with_row_index("row").sort("rank", maintain_order=True)
    ordered = frame[numbered["row"]]
    edges = pl.Series(range(size + 1), dtype=ranks.dtype)
    bounds = numbered["rank"].search_sorted(edges, side="left").to_list()
    return [ordered.slice(bounds[rank], bounds[rank + 1] - bounds[rank]) for rank in range(size)]
