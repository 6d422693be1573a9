"""Sort: a total order over all ranks, rank 0 first, by sampled splitters (parallel sorting by regular sampling).

Each rank sorts its rows and offers evenly spaced ones as samples; the samples' order cuts the table into
parts of nearly equal size. (Where the only key is a column of numbers or times, rows travel before they are
sorted: `sort_ranges.py`.) A row's (keys, rank, position) is unlike any other's, so the cuts fall between
rows with equal keys too: neither skew nor ties make one rank's part large, and equal rows keep their order.
Source: Shi and Schaeffer, Parallel sorting by regular sampling, J. Parallel Distrib. Comput. 14 (1992).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from deeprc.table.engines import current
from deeprc.table.exchange.exchange import exchange, replicate, together
from deeprc.table.operators.shuffle import send
from deeprc.table.operators.sort_packed import packs, sorted_by
from deeprc.table.operators.sort_ranges import MOST_RANKS, key_of, range_of, sampled_rows
from deeprc.table.operators.whole import run_whole
from deeprc.table.plan.expressions import is_row_wise, plain_column, reads_by_selector, tree
from deeprc.table.plan.nodes import Sort
from deeprc.table.stage import Execution, Stage, compute

_SAMPLES_PER_RANK = 128
_RANK, _ROW, _WEIGHT = "__rank__", "__position__", "__weight__"


def sorts_locally(node: Sort) -> bool:
    """Whether a row's keys can be told from the row alone."""
    schema = node.input.schema
    return all(is_row_wise(key, schema) and not reads_by_selector(tree(key)) for key in node.by)


def run_sort(node: Sort, run: Execution) -> Stage:
    """Run on all ranks; each holds a range of the order."""
    if not sorts_locally(node):
        return run_whole(node, run)
    frame = run.stage(node.input).frame
    ordered = sort_rows(frame, node.by, node.descending, node.nulls_last, run, node.label(), stable=node.maintain_order)
    return Stage(ordered.lazy())


@dataclass(frozen=True)
class Order:
    """How Polars compares rows of keys that are named key0, key1, ..."""

    names: tuple[str, ...]
    descending: tuple[bool, ...]
    nulls_last: tuple[bool, ...]

    @classmethod
    def of(cls, descending: Sequence[bool], nulls_last: Sequence[bool]) -> Order:
        return cls(tuple(f"key{index}" for index in range(len(descending))), tuple(descending), tuple(nulls_last))

    def sort(self, frame: pl.DataFrame, *ties: str) -> pl.DataFrame:
        more = [False] * len(ties)
        return frame.sort(
            [*self.names, *ties],
            descending=[*self.descending, *more],
            nulls_last=[*self.nulls_last, *more],
        )


def sort_rows(
    frame: pl.LazyFrame,
    by: Sequence[pl.Expr],
    descending: Sequence[bool],
    nulls_last: Sequence[bool],
    run: Execution,
    operator: str,
    *,
    stable: bool = True,
) -> pl.DataFrame:
    """Sort the rows of all ranks by row-wise keys; return this rank's range of the order. Collective."""
    order = Order.of(descending, nulls_last)
    rank, size = run.comm.rank, run.comm.size
    rows, facts = together(
        run.comm,
        f"computing its part for {operator}",
        lambda: compute(frame),
        lambda part: (key_of(by, part) if size <= MOST_RANKS else None, part.height),
    )
    name = facts[0][0]
    if name is not None and all(known is not None for known, _ in facts):
        key = pl.DataFrame({order.names[0]: rows[name]})
        samples = replicate(_placed_evenly(key, sampled_rows(key.height, rank), rank), run.comm, operator)
        splitters = chosen_splitters(samples, order, size).rows()
        ranges = range_of(key.to_series(), splitters, descending=order.descending[0], rank=rank)
        del key
        arrived = [send(rows, ranges, [height for _, height in facts], run, operator)]
        del rows, ranges
        return _sorted(arrived, by, order, stable=stable)
    return _merged(rows, by, order, run, operator, stable=stable)


def sort_alone(node: Sort, run: Execution) -> pl.DataFrame:
    """Run on one rank, where nothing comes after the sort."""
    name = plain_column(node.by[0]) if len(node.by) == 1 else None
    if name is None or not packs(node.input.schema[name]):
        return compute(node.apply(run.stage(node.input).frame))
    order = Order.of(node.descending, node.nulls_last)
    return _sorted([compute(run.stage(node.input).frame)], node.by, order, stable=node.maintain_order)


def _sorted(frames: list[pl.DataFrame], by: Sequence[pl.Expr], order: Order, *, stable: bool) -> pl.DataFrame:
    """The rows of one frame. Takes it out of the list: of what nobody else holds, columns are freed one by one."""
    key = key_of(by, frames[0])
    if key is not None and packs(frames[0].schema[key]) and current.get() != "gpu":
        columns = frames.pop().get_columns()
        return sorted_by(columns, key, descending=order.descending[0])
    ordered = (
        frames.pop()
        .lazy()
        .sort(list(by), descending=list(order.descending), nulls_last=list(order.nulls_last), maintain_order=stable)
    )
    return compute(ordered)


def _merged(
    frame: pl.DataFrame, by: Sequence[pl.Expr], order: Order, run: Execution, operator: str, *, stable: bool
) -> pl.DataFrame:
    """Sort here, exchange ranges, merge: for any keys."""

    def local() -> tuple[pl.DataFrame, pl.DataFrame]:
        rows = _sorted([frame], by, order, stable=stable)
        return rows, rows.select(key.alias(name) for key, name in zip(by, order.names, strict=True))

    (rows, keys), _ = together(run.comm, f"sorting its part for {operator}", local, lambda _: None)
    rank, size = run.comm.rank, run.comm.size
    samples = replicate(_samples(keys, rank), run.comm, operator)
    cuts = [0, *_cuts(keys, chosen_splitters(samples, order, size), order, rank, size), rows.height]
    parts = [rows.slice(start, end - start) for start, end in pairwise(cuts)]
    # What arrived is one sorted run from each rank, which a stable sort merges.
    arrived = exchange(parts, run.comm, operator)
    return _sorted([arrived], by, order, stable=True)


def _samples(keys: pl.DataFrame, rank: int) -> pl.DataFrame:
    count = min(keys.height, _SAMPLES_PER_RANK)
    return _placed_evenly(keys, [index * keys.height // count for index in range(count)], rank)


def _placed_evenly(keys: pl.DataFrame, rows: Sequence[int], rank: int) -> pl.DataFrame:
    """The keys at these rows, each standing for as many rows."""
    return _placed(keys, rows, rank).with_columns(pl.lit(keys.height / max(len(rows), 1)).alias(_WEIGHT))


def _placed(keys: pl.DataFrame, rows: Sequence[int], rank: int) -> pl.DataFrame:
    """The keys at these rows, with what tells equal ones apart."""
    positions = pl.Series(_ROW, rows, dtype=pl.Int64)
    return keys[positions].with_columns(pl.lit(rank, dtype=pl.Int64).alias(_RANK), positions)


def chosen_splitters(samples: pl.DataFrame, order: Order, size: int) -> pl.DataFrame:
    """The `size - 1` samples that cut the weight of all into equal shares; none for an empty table."""
    ordered = order.sort(samples, _RANK, _ROW)
    # Each sample stands for the rows from itself to the next: the weight before it is where it stands.
    before = (ordered[_WEIGHT].cum_sum() - ordered[_WEIGHT]).to_list()
    total = float(ordered[_WEIGHT].sum())
    picks = []
    for boundary in range(1, size):
        goal = total * boundary / size
        picks.append(min(bisect_left(before, goal), len(before) - 1))
    return ordered[picks if before else []].drop(_WEIGHT)


def _cuts(keys: pl.DataFrame, splitters: pl.DataFrame, order: Order, rank: int, size: int) -> list[int]:
    """How many of this rank's sorted rows come before each splitter: all binary searches at once."""
    if not splitters.height:
        return [0] * (size - 1)
    low = [0] * splitters.height
    high = [keys.height] * splitters.height
    while any(start < end for start, end in zip(low, high, strict=True)):
        middle = [min((start + end) // 2, keys.height - 1) for start, end in zip(low, high, strict=True)]
        before = _before(_placed(keys, middle, rank), splitters, order)
        for index, comes_before in enumerate(before):
            if low[index] < high[index]:
                if comes_before:
                    low[index] = middle[index] + 1
                else:
                    high[index] = middle[index]
    return low


def _before(rows: pl.DataFrame, splitters: pl.DataFrame, order: Order) -> list[bool]:
    """Whether each row comes before the splitter of the same number, as Polars sorts."""
    count = splitters.height
    both = pl.concat([splitters, rows]).with_columns(
        pl.int_range(2 * count, dtype=pl.Int64, eager=True).alias("number")
    )
    ranking = order.sort(both, _RANK, _ROW, "number")["number"].arg_sort().to_list()
    return [ranking[count + index] < ranking[index] for index in range(count)]
