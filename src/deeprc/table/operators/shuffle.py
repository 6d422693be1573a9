"""Bringing rows with equal keys to one rank, and the statistics that say what is worth doing first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from math import isqrt

import polars as pl

from deeprc.table.exchange.exchange import concat, exchange_in_rounds, together
from deeprc.table.exchange.partition import ranks_by_key, split
from deeprc.table.files.statistics import groups_of_all
from deeprc.table.operators.buckets import ROUND_ROWS, in_buckets
from deeprc.table.plan.nodes import Node
from deeprc.table.plan.placement import key_columns
from deeprc.table.stage import Execution, Stage, compute

_SAMPLE_ROWS = 8192
_SEED = 0
_COUNT = "__count__"
ROW_NUMBER = "__row__"


def shuffle(frame: pl.DataFrame, keys: Sequence[pl.Expr], run: Execution, operator: str) -> pl.DataFrame:
    """Send each row to the rank that its keys hash to. Rows of one key keep the order of the whole table."""
    (arrived,) = shuffle_in_rounds(frame, keys, 1, run, operator)
    return concat(arrived)


def shuffle_in_rounds(
    frame: pl.DataFrame, keys: Sequence[pl.Expr], rounds: int, run: Execution, operator: str
) -> Iterator[list[pl.DataFrame]]:
    """As `shuffle`, in so many rounds on all ranks; the parts that arrive in each, in rank order.

    What a round has sent and received can be freed before the next, which then takes the same memory.
    """
    size = run.comm.size

    def parts(begin: int, end: int) -> list[pl.DataFrame]:
        rows = frame[begin:end]
        if key_columns(keys) is not None:
            return split(rows, ranks_by_key(rows, keys, size), size)
        # Computing a key may fail on the values of one rank.
        doing = f"computing the keys of {operator}"
        return together(run.comm, doing, lambda: split(rows, ranks_by_key(rows, keys, size), size), lambda _: None)[0]

    return exchange_in_rounds((parts(*ends) for ends in _rounds(frame.height, rounds)), run.comm, operator)


def send(frame: pl.DataFrame, ranks: pl.Series, heights: Sequence[int], run: Execution, operator: str) -> pl.DataFrame:
    """Send each row to the rank that `ranks` says; what arrives keeps the order of the whole table. Collective.

    In rounds: what one has sent takes the same memory as what the next does.

    Args:
        heights: the rows of `frame` on each rank.
    """
    rounds = max(1, -(-max(heights) // ROUND_ROWS))
    parts = (split(frame[begin:end], ranks[begin:end], run.comm.size) for begin, end in _rounds(frame.height, rounds))
    arrived = list(exchange_in_rounds(parts, run.comm, operator))
    return concat(list(chain.from_iterable(zip(*arrived, strict=True))))


def _rounds(height: int, count: int) -> Iterator[tuple[int, int]]:
    """Where each of so many rounds begins and ends in a frame of this height."""
    return pairwise(height * number // count for number in range(count + 1))


def shuffle_into_buckets(
    frame: pl.DataFrame, keys: Sequence[pl.Expr], heights: Sequence[int], count: int, run: Execution, operator: str
) -> list[pl.DataFrame]:
    """As `shuffle`, in rounds, what arrives straight into so many buckets of this rank by the hash of the keys.

    Args:
        heights: the rows of `frame` on each rank.
    """
    rounds = -(-max(heights) // ROUND_ROWS)
    return in_buckets(shuffle_in_rounds(frame, keys, rounds, run, operator), frame.clear(), keys, count)


def numbered(frame: pl.DataFrame, heights: Sequence[int], rank: int) -> pl.DataFrame:
    """The frame with each row's number in the whole table."""
    start = sum(heights[:rank])
    return frame.with_columns(pl.int_range(start, start + frame.height, dtype=pl.Int64, eager=True).alias(ROW_NUMBER))


def shrinks(stage: Stage, keys: Sequence[pl.Expr], node: Node, run: Execution) -> tuple[Stage, bool]:
    """Whether there are so few distinct keys that reducing each rank's rows before the exchange pays.

    Looks at a sample on every rank, so that all choose alike. Computes the stage where the sample is not to
    be had without, or says too little.
    """
    if stage.streams:
        head = run.collect(stage.frame.head(_SAMPLE_ROWS).select(*keys), node)
        samples = run.comm.all_gather((head.height, head.n_unique() if head.height else 0))
        rows, distinct = (sum(column) for column in zip(*samples, strict=True))
        if distinct < 0.75 * rows:
            return stage, True
    frame = run.collect(stage.frame, node)

    _, totals = together(
        run.comm,
        f"computing the keys of {node.label()}",
        lambda: sampled_groups(frame, keys),
        lambda groups: (frame.height, groups),
    )
    shrink = sum(groups for _, groups in totals) < 0.5 * sum(height for height, _ in totals)
    return Stage(frame.lazy(), stage.placement), shrink


def sampled_groups(frame: pl.DataFrame, keys: Sequence[pl.Expr]) -> float:
    """About how many groups the keys make of the rows, from random ones.

    Evenly spaced rows may hit one key again and again where keys come in turn, and none twice where rows are sorted.
    So many are taken that, were there half as many groups as rows, about nine pairs of them would be of one group.
    """
    wanted = max(_SAMPLE_ROWS, 3 * isqrt(frame.height))
    if wanted < frame.height:
        sample = frame[(pl.int_range(wanted, eager=True).hash(_SEED) % frame.height).unique()]
        counts = compute(sample.lazy().group_by(*keys).agg(pl.len().alias(_COUNT)))[_COUNT]
        # The more rows, the more often they repeat: of all rows no larger a share makes groups than of some.
        return min(frame.height * len(counts) / sample.height, groups_of_all(counts))
    return float(compute(frame.lazy().select(*keys)).n_unique()) if frame.height else 0.0
