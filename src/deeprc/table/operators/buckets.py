"""A rank's own rows in buckets, by the hash of their keys: each bucket is joined, or grouped, by itself.

A hash table of many rows is larger than the caches, so every row that is looked up waits for memory. Bringing the rows
into buckets first takes one pass over them, after which the tables of all look-ups stay in the cache; and there is one
small table at a time.

Source: Boncz, Manegold and Kersten, Database architecture optimized for the new bottleneck: memory access, VLDB 1999:
the radix-partitioned hash join.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import polars as pl

from deeprc.table.engines import current
from deeprc.table.exchange.exchange import concat
from deeprc.table.exchange.partition import ranks_by_key
from deeprc.table.plan.nodes import Join

BUCKET_ROWS = 1 << 17  # Of what a hash table is made of: with keys and places, about 3 MiB.
FEWEST_BUCKETS = 8  # With less, bringing the rows together costs as much as it saves.
_MOST_BUCKETS = 128
ROUND_ROWS = 1 << 20  # Of a rank, in one round of the exchange that fills the buckets.
_CHUNK_ROWS = 1 << 18


def bucket_count(schemas: Sequence[pl.Schema], rows: int) -> int:
    """How many buckets so many rows of a rank are worth; none where they are few, or costly to bring together.

    Args:
        schemas: of all rows that are brought into buckets.
    """
    cheap = not any(dtype.is_nested() or dtype == pl.Object for schema in schemas for dtype in schema.dtypes())
    count = min(_MOST_BUCKETS, rows // BUCKET_ROWS)
    return count if count >= FEWEST_BUCKETS and cheap and current.get() != "gpu" else 0


def joined(node: Join, sides: list[pl.DataFrame]) -> pl.LazyFrame:
    """The join of a rank's rows, in buckets where they are many. Takes the sides out of the list.

    Each is freed when its rows are in buckets.
    """
    count = bucket_count([side.schema for side in sides], min(side.height for side in sides))
    if not count:
        left, right = (side.lazy() for side in sides)
        return node.apply(left, right)
    lefts = in_buckets([[sides[0]]], sides.pop(0).clear(), node.left_on, count)
    rights = in_buckets([[sides[0]]], sides.pop(0).clear(), node.right_on, count)
    return joined_buckets(node, lefts, rights)


def joined_buckets(node: Join, lefts: Sequence[pl.DataFrame], rights: Sequence[pl.DataFrame]) -> pl.LazyFrame:
    """Bucket with bucket: all rows of a key, and all null keys, are in one.

    So the result of any kind of join has the rows that the join of the whole has; their order is not kept.
    """
    pairs = zip(lefts, rights, strict=True)
    return pl.concat([node.apply(left.lazy(), right.lazy()) for left, right in pairs], how="vertical")


def in_buckets(
    rounds: Iterable[Sequence[pl.DataFrame]], empty: pl.DataFrame, keys: Sequence[pl.Expr], count: int
) -> list[pl.DataFrame]:
    """The rows of each bucket; equal keys are in one bucket, on either side of a join.

    Args:
        rounds: in each the parts that have come from the same ranks; the order kept is (rank, round, row).
        empty: the columns of all parts, without rows.
    """
    pieces: list[list[list[pl.DataFrame]]] = []
    for parts in rounds:
        pieces = pieces or [[[] for _ in parts] for _ in range(count)]
        for source, part in enumerate(parts):
            for bucket, rows in enumerate(_divided(part, keys, count)):
                pieces[bucket][source] += rows
    return [concat([empty, *chain.from_iterable(of_bucket)]) for of_bucket in pieces]


def _divided(frame: pl.DataFrame, keys: Sequence[pl.Expr], count: int) -> list[list[pl.DataFrame]]:
    """The frame's rows for each bucket, in their order, piece by piece."""
    pieces: list[list[pl.DataFrame]] = [[] for _ in range(count)]
    # NumPy's counting sort needs eight bytes a row beside, and the rows stay near.
    for chunk in frame.iter_slices(_CHUNK_ROWS):
        numbers = ranks_by_key(chunk, keys, count, level=1).cast(pl.UInt8).rechunk().to_numpy()
        rows = chunk[pl.Series(np.argsort(numbers, kind="stable").astype(np.uint32))]
        ends = np.cumsum(np.bincount(numbers, minlength=count)).tolist()
        for piece, begin, end in zip(pieces, [0, *ends], ends, strict=False):
            piece.append(rows[begin:end])
    return pieces
