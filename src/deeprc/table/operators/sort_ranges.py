"""Sort by one plain column of numbers or times: rows go to their rank first, and are sorted once, there.

Sampled splitters cut the order into ranges; a comparison with each says where a row belongs, which costs less
than merging sorted runs does. Ties are cut as in `sort.py`: by the rank and the position of a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from deeprc.table.plan.expressions import plain_column

MOST_RANKS = 8  # For each rank but one, every row is compared once.
_SAMPLES_PER_RANK = 1024


def key_of(by: Sequence[pl.Expr], frame: pl.DataFrame) -> str | None:
    """The column to sort by, if there is one only, whose values compare quickly and are all there."""
    name = plain_column(by[0]) if len(by) == 1 else None
    if name is None or not (frame.schema[name].is_numeric() or frame.schema[name].is_temporal()):
        return None
    return None if frame[name].null_count() else name


def sampled_rows(height: int, rank: int) -> list[int]:
    """Positions of rows to sample: all of a small part, else one in each of equally many strides."""
    if height <= _SAMPLES_PER_RANK:
        return list(range(height))
    edges = np.arange(_SAMPLES_PER_RANK + 1) * height // _SAMPLES_PER_RANK
    random = np.random.default_rng(rank)
    positions: list[int] = random.integers(edges[:-1], edges[1:]).tolist()
    return positions


def range_of(key: pl.Series, splitters: Sequence[tuple[object, int, int]], *, descending: bool, rank: int) -> pl.Series:
    """The rank that each of this rank's rows belongs to.

    Args:
        splitters: (key, rank, position) of the first row of each rank but 0, in order.
    """
    ranges = pl.repeat(0, key.len(), dtype=pl.UInt8, eager=True)
    for value, its_rank, position in splitters:
        bound = pl.Series([value], dtype=key.dtype)
        # Of the rows that equal the splitter, those that stand before it belong to the rank before.
        before = key.len() if rank < its_rank else position if rank == its_rank else 0
        earlier, later = key[:before], key[before:]
        from_here = [earlier < bound, later <= bound] if descending else [earlier > bound, later >= bound]
        ranges += pl.concat(from_here).cast(pl.UInt8)
    return ranges
