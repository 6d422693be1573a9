"""Operators that need all rows of a key in one place, in order, and then are Polars'; and the as-of join."""

from __future__ import annotations

import polars as pl

from deeprc.table.exchange import replicate
from deeprc.table.operators.shuffle import shuffle
from deeprc.table.operators.whole import run_whole
from deeprc.table.placement import matching_keys
from deeprc.table.plan_rows import JoinAsof, Keyed
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
    """By hash of the `by` columns; without these the right side goes to all ranks and the left stays."""
    left, right = run.stage(node.left), run.stage(node.right)
    right_rows = run.collect(right.frame, node)
    if not node.left_by:
        everywhere = replicate(right_rows, run.comm, f"{node.label()} (right to all)")
        return Stage(node.apply(left.frame, everywhere.lazy()))
    left_rows = run.collect(left.frame, node)
    sides = [
        shuffle(rows, [pl.col(name) for name in names], run, f"{node.label()} ({side})").lazy()
        for side, rows, names in (("left", left_rows, node.left_by), ("right", right_rows, node.right_by))
    ]
    return Stage(node.apply(*sides))
