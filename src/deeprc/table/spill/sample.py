"""Samples, over pieces: which rows they have is told from the rows' numbers, before any row is read again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl

from deeprc.errors import DataError
from deeprc.table.exchange.exchange import exchange
from deeprc.table.operators.shuffle import ROW_NUMBER
from deeprc.table.plan.row_nodes import Sample
from deeprc.table.spill.context import Numbered, Spilling
from deeprc.table.spill.pieces import Pieces, of_frames

_NUMBERS_AT_A_TIME = 1 << 18
_DIGIT_BITS = 16


def sample(node: Sample, run: Spilling) -> Pieces:
    """The rows with the smallest hashes of their numbers, the same as in memory.

    Raises:
        DataError: more rows are asked for than there are; on all ranks alike.
    """
    rows = run.numbered(run.pieces(node.input), node.label())
    total = sum(rows.heights)
    n = int(total * node.fraction) if node.fraction is not None else node.n or 0
    if n > total and (not node.with_replacement or not total):
        raise DataError(f"sample of {n} rows: the table has {total}. Ask for at most so many, or for a fraction")
    seed = run.comm.broadcast(secrets.randbits(63) if node.seed is None else node.seed)
    if node.with_replacement:
        return _drawn(rows, n, seed, node, run)
    bound, below = _nth_hash(rows, n, seed, run) if n else (0, 0)
    ties = run.comm.all_gather(sum(int((hashes == bound).sum()) for hashes in _hashes(rows, seed)))
    wanted = max(0, n - below - sum(ties[: run.comm.rank]))

    def frames() -> Iterator[pl.DataFrame]:
        left, start = wanted, rows.edges[run.comm.rank]
        for batch in rows.kept.batches():
            hashes = _hashed(start, batch.height, seed)
            tied = hashes == bound
            # Hashes may be equal: of those on the bound the first ones are taken.
            yield batch.filter((hashes < bound) | (tied & (tied.cast(pl.Int64).cum_sum() <= left)))
            left -= int(tied.sum())
            start += batch.height

    return of_frames(frames, node.schema, again=True, placement=rows.kept.pieces.placement)


def _nth_hash(rows: Numbered, n: int, seed: int, run: Spilling) -> tuple[int, int]:
    """The n-th smallest hash of all rows' numbers, digit by digit, and how many are smaller. Collective."""
    prefix, below = 0, 0
    for shift in range(64 - _DIGIT_BITS, -1, -_DIGIT_BITS):
        counts = np.zeros(1 << _DIGIT_BITS, dtype=np.int64)
        for hashes in _hashes(rows, seed):
            digits = hashes.to_numpy() >> np.uint64(shift)
            # Those that begin as the one that is looked for. All do, where nothing of it is known.
            same = digits[(digits >> np.uint64(_DIGIT_BITS)) == np.uint64(prefix)]
            counts += np.bincount((same & np.uint64((1 << _DIGIT_BITS) - 1)).astype(np.int64), minlength=len(counts))
        total = np.sum(run.comm.all_gather(counts), axis=0).cumsum()
        digit = int(np.searchsorted(total, n - below))
        below += int(total[digit - 1]) if digit else 0
        prefix = prefix << _DIGIT_BITS | digit
    return prefix, below


def _hashes(rows: Numbered, seed: int) -> Iterator[pl.Series]:
    start, end = rows.edges[rows.rank], rows.edges[rows.rank + 1]
    for first in range(start, end, _NUMBERS_AT_A_TIME):
        yield _hashed(first, min(_NUMBERS_AT_A_TIME, end - first), seed)


def _hashed(start: int, rows: int, seed: int) -> pl.Series:
    return pl.int_range(start, start + rows, dtype=pl.Int64, eager=True).hash(seed)


def _drawn(rows: Numbered, n: int, seed: int, node: Sample, run: Spilling) -> Pieces:
    """With replacement: as in memory, where draw i is the row whose number a hash of i gives."""
    size, rank = run.comm.size, run.comm.rank
    draws = pl.int_range(n * rank // size, n * (rank + 1) // size, dtype=pl.Int64, eager=True)
    numbers = (draws.hash(seed) % max(sum(rows.heights), 1)).cast(pl.Int64).sort().alias(ROW_NUMBER).to_frame()
    cuts = numbers[ROW_NUMBER].search_sorted(pl.Series(rows.edges, dtype=pl.Int64)).to_list()
    asked = exchange([numbers[start:end] for start, end in pairwise(cuts)], run.comm, node.label())
    chosen = (asked[ROW_NUMBER] - rows.edges[rank]).sort()

    def frames() -> Iterator[pl.DataFrame]:
        start = 0
        for batch in rows.kept.batches():
            first, last = chosen.search_sorted(pl.Series([start, start + batch.height])).to_list()
            yield batch[chosen[first:last] - start]
            start += batch.height

    return of_frames(frames, node.schema, again=True, placement=rows.kept.pieces.placement)
