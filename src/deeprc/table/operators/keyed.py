"""Operators that need all rows of a key in one place, in order, and then are Polars'; and the as-of join."""

from __future__ import annotations

import polars as pl

from deeprc.errors import DataError
from deeprc.table.exchange.exchange import exchange, replicate, together
from deeprc.table.operators.shuffle import shuffle
from deeprc.table.operators.whole import run_whole
from deeprc.table.plan.placement import matching_keys
from deeprc.table.plan.row_nodes import JoinAsof, Keyed
from deeprc.table.stage import Execution, Stage


def run_keyed(node: Keyed, run: Execution) -> Stage:
    """By hash of the keys; without keys on rank 0."""
    if not node.keys:
        return run_whole(node, run)
    stage = run.stage(node.input)
    if matching_keys(stage.placement, node.keys) is None:
        stage = Stage(shuffle(run.collect(stage.frame, node), node.keys, run, node.label()).lazy())
    return Stage(node.apply(stage.frame))


def run_join_asof(node: JoinAsof, run: Execution) -> Stage:
    """By hash of the `by` columns; without these each rank gets the right rows near its left ones."""
    left_rows = run.collect(run.stage(node.left).frame, node)
    right_rows = run.collect(run.stage(node.right).frame, node)
    if not node.left_by:
        return Stage(node.apply(left_rows.lazy(), _near(left_rows, right_rows, node, run).lazy()))
    sides = [
        shuffle(rows, [pl.col(name) for name in names], run, f"{node.label()} ({side})").lazy()
        for side, rows, names in (("left", left_rows, node.left_by), ("right", right_rows, node.right_by))
    ]
    return Stage(node.apply(*sides))


def _near(left: pl.DataFrame, right: pl.DataFrame, node: JoinAsof, run: Execution) -> pl.DataFrame:
    """The right rows from those just before this rank's left rows to those just after them, in order.

    Raises:
        DataError: a table is not sorted; on all ranks alike.
    """
    keys = left[node.left_on], right[node.right_on]
    facts = run.comm.all_gather(tuple((key.null_count() > 0, key.is_sorted()) for key in keys))
    if any(nulls for of_rank in facts for nulls, _ in of_rank):
        return replicate(right, run.comm, f"{node.label()} (right to all)")
    ends = [replicate(_ends(key, run.comm.rank), run.comm, f"{node.label()} (ends)") for key in keys]
    for index, side in enumerate(("left", "right")):
        if not all(of_rank[index][1] for of_rank in facts) or not ends[index]["key"].is_sorted():
            raise DataError(f"join_asof: the {side} table is not sorted by its key: sort it first")

    def parts() -> list[pl.DataFrame]:
        ranges = [ends[0].filter(pl.col("rank") == rank)["key"] for rank in range(run.comm.size)]
        return [
            nearest_rows(right, keys[1], part.head(1), part.tail(1)) if len(part) else right.clear() for part in ranges
        ]

    pieces, _ = together(run.comm, f"choosing rows for {node.label()}", parts, lambda _: None)
    return exchange(pieces, run.comm, f"{node.label()} (right)")


def _ends(key: pl.Series, rank: int) -> pl.DataFrame:
    """The first and the last key of a rank that has rows."""
    return pl.DataFrame({"key": pl.concat([key.head(1), key.tail(1)])}).with_columns(rank=pl.lit(rank))


def nearest_rows(right: pl.DataFrame, key: pl.Series, first: pl.Series, last: pl.Series) -> pl.DataFrame:
    """The rows between two keys, and all with the nearest key before and after."""
    start, end = int((key < first).sum()), int((key <= last).sum())
    if start:
        start = int((key < key[start - 1 : start]).sum())
    if end < len(key):
        end = int((key <= key[end : end + 1]).sum())
    return right.slice(start, end - start)
