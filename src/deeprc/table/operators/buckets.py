"""The join of a rank's own rows, in buckets: both sides are divided by the hash of their keys, each bucket is joined.

A hash table of many rows is larger than the caches, so every row that is looked up waits for memory. Bringing the rows
into buckets first takes one pass over them, after which the tables of all look-ups stay in the cache.

Source: Boncz, Manegold and Kersten, Database architecture optimized for the new bottleneck: memory access, VLDB 1999:
the radix-partitioned hash join.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from deeprc.table.engines import current
from deeprc.table.exchange import concat
from deeprc.table.partition import ranks_by_key
from deeprc.table.plan import Join

BUCKET_ROWS = 1 << 17  # Of the right side: with its keys and places, a hash table of about 3 MiB.
FEWEST_BUCKETS = 8  # With less, bringing the rows together costs as much as it saves.
_MOST_BUCKETS = 128
_CHUNK_ROWS = 1 << 20


def joined(node: Join, sides: list[pl.DataFrame]) -> pl.LazyFrame:
    """The join of a rank's rows, in buckets where they are many. Takes the sides out of the list.

    Each is freed when its rows are in buckets. Rows without a match, and null keys, are in one bucket each, so the
    result of any kind of join has the rows that the join of the whole has; their order is not kept.
    """
    count = min(_MOST_BUCKETS, min(side.height for side in sides) // BUCKET_ROWS)
    if count < FEWEST_BUCKETS or not all(map(_moves_cheaply, sides)) or current.get() == "gpu":
        left, right = (side.lazy() for side in sides)
        return node.apply(left, right)
    lefts = in_buckets(sides.pop(0), node.left_on, count)
    rights = in_buckets(sides.pop(0), node.right_on, count)
    pairs = zip(lefts, rights, strict=True)
    return pl.concat([node.apply(left.lazy(), right.lazy()) for left, right in pairs], how="vertical")


def _moves_cheaply(frame: pl.DataFrame) -> bool:
    return not any(dtype.is_nested() or dtype == pl.Object for dtype in frame.dtypes)


def in_buckets(frame: pl.DataFrame, keys: Sequence[pl.Expr], count: int) -> list[pl.DataFrame]:
    """The rows of each bucket, in their order; equal keys are in one bucket, on either side of a join."""
    numbers = ranks_by_key(frame, keys, count, level=1).cast(pl.UInt8).rechunk().to_numpy()
    pieces: list[list[pl.DataFrame]] = [[frame.clear()] for _ in range(count)]
    # Chunk by chunk, for which NumPy's counting sort needs little memory beside.
    for start in range(0, frame.height, _CHUNK_ROWS):
        chunk = numbers[start : start + _CHUNK_ROWS]
        rows = frame.slice(start, _CHUNK_ROWS)[pl.Series(np.argsort(chunk, kind="stable").astype(np.uint32))]
        ends = np.cumsum(np.bincount(chunk, minlength=count)).tolist()
        for piece, begin, end in zip(pieces, [0, *ends], ends, strict=False):
            piece.append(rows[begin:end])
    return [concat(piece) for piece in pieces]
