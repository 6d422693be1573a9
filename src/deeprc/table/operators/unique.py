"""Unique: rows with equal keys meet on one rank, where Polars keeps one of them, or none."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from deeprc.table.operators.shuffle import ROW_NUMBER, numbered, shrinks, shuffle
from deeprc.table.operators.sort import sort_rows
from deeprc.table.operators.whole import run_whole
from deeprc.table.plan.nodes import Unique
from deeprc.table.plan.placement import key_columns, matching_keys
from deeprc.table.stage import Execution, Stage


def run_unique(node: Unique, run: Execution) -> Stage:
    """Run on all ranks; rows are where their keys hash to."""
    names = list(node.input.schema) if node.subset is None else list(node.subset)
    if not names:
        return run_whole(node, run)
    keys = [pl.col(name) for name in names]
    stage = run.stage(node.input)
    if node.maintain_order:
        return _in_order(node, names, keys, stage, run)
    if matching_keys(stage.placement, keys) is not None:
        return Stage(node.apply(stage.frame), stage.placement)
    if node.keep != "none":
        stage, pays = shrinks(stage, keys, node, run)
        if pays:
            stage = Stage(node.apply(stage.frame))
    arrived = shuffle(run.collect(stage.frame, node), keys, run, node.label())
    return Stage(node.apply(arrived.lazy()), key_columns(keys))


def _in_order(node: Unique, names: Sequence[str], keys: Sequence[pl.Expr], stage: Stage, run: Execution) -> Stage:
    frame, facts = run.measure(stage.frame, node)
    rows = numbered(frame, [height for height, _ in facts], run.comm.rank)
    arrived = shuffle(rows, keys, run, node.label())
    kept = arrived.lazy().unique(names, keep=node.keep, maintain_order=True)
    ordered = sort_rows(kept, [pl.col(ROW_NUMBER)], [False], [False], run, node.label())
    return Stage(ordered.lazy().drop(ROW_NUMBER))
