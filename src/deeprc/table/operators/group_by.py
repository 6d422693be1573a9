"""Group-by: each group whole on one rank, then Polars; or a part of each group first, when that is less."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from deeprc.table.operators.buckets import bucket_count
from deeprc.table.operators.shuffle import ROW_NUMBER, numbered, shrinks, shuffle, shuffle_into_buckets
from deeprc.table.operators.sort import sort_rows
from deeprc.table.operators.whole import run_whole
from deeprc.table.partial.decompose import Decomposed, decompose
from deeprc.table.plan.expressions import is_row_wise, reads_by_selector, root_columns, tree
from deeprc.table.plan.nodes import GroupBy
from deeprc.table.plan.placement import key_columns, matching_keys
from deeprc.table.stage import Execution, Stage


def groups_locally(node: GroupBy) -> bool:
    """Whether a row's group can be told from the row alone."""
    schema = node.input.schema
    return bool(root_columns(node.keys, schema)) and all(is_row_wise(key, schema) for key in node.keys)


def taken_apart(node: GroupBy) -> Decomposed | None:
    """The aggregations in two halves, where all of them allow it and no order of groups is asked for."""
    if node.maintain_order or any(reads_by_selector(tree(key)) for key in node.keys):
        return None
    return decompose(node.aggs, node.input.schema, node.schema, grouped=True)


def run_group_by(node: GroupBy, run: Execution) -> Stage:
    """Run on all ranks; groups are where their keys hash to."""
    if not groups_locally(node):
        return run_whole(node, run)
    stage = run.stage(node.input)
    if node.maintain_order:
        return _in_order_of_first_rows(node, stage, run)
    if matching_keys(stage.placement, node.keys) is not None:
        return Stage(node.apply(stage.frame), stage.placement)
    halves = taken_apart(node)
    if halves is not None:
        stage, pays = shrinks(stage, node.keys, node, run)
        if pays:
            return _in_two_halves(node, halves, stage, run)
    return _grouped(stage.frame, node.keys, node.aggs, node, run)


def _in_two_halves(node: GroupBy, halves: Decomposed, stage: Stage, run: Execution) -> Stage:
    partial = stage.frame.group_by(*node.keys).agg(*halves.partial)
    keys = [pl.col(key.meta.output_name()) for key in node.keys]
    return _grouped(partial, keys, halves.final, node, run)


def _grouped(
    rows: pl.LazyFrame, keys: Sequence[pl.Expr], aggs: Sequence[pl.Expr], node: GroupBy, run: Execution
) -> Stage:
    """Bring the rows of each group together, and group them; many rows in buckets, which are grouped one by one."""
    frame, facts = run.measure(rows, node)
    heights = [height for height, _ in facts]
    count = bucket_count([frame.schema], sum(heights) // run.comm.size)
    if count:
        parts = shuffle_into_buckets(frame, keys, heights, count, run, node.label())
    else:
        parts = [shuffle(frame, keys, run, node.label())]
    groups = [part.lazy().group_by(*keys).agg(*aggs) for part in parts]
    return Stage(pl.concat(groups, how="vertical"), key_columns(keys))


def _in_order_of_first_rows(node: GroupBy, stage: Stage, run: Execution) -> Stage:
    """`maintain_order=True`: groups in the order of their first rows in the whole table."""
    frame, facts = run.measure(stage.frame, node)
    rows = numbered(frame, [height for height, _ in facts], run.comm.rank)
    arrived = shuffle(rows, node.keys, run, node.label())
    groups = run.collect(node.apply(arrived.lazy().drop(ROW_NUMBER)), node)
    firsts = run.collect(arrived.lazy().group_by(*node.keys, maintain_order=True).agg(pl.col(ROW_NUMBER).first()), node)
    ordered = sort_rows(
        groups.lazy().with_columns(firsts[ROW_NUMBER]), [pl.col(ROW_NUMBER)], [False], [False], run, node.label()
    )
    return Stage(ordered.lazy().drop(ROW_NUMBER))
