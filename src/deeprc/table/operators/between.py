"""Interpolation: the value before a rank's part, and the one after it, are all that it needs of the others."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from deeprc.table.exchange.exchange import concat, replicate
from deeprc.table.operators.shuffle import ROW_NUMBER, numbered
from deeprc.table.operators.times import sorted_ends
from deeprc.table.operators.whole import computed
from deeprc.table.plan.expressions import from_tree, tree
from deeprc.table.plan.window_nodes import Interpolated
from deeprc.table.stage import Execution, Stage

_RANK = "__rank__"


def run_interpolated(node: Interpolated, run: Execution) -> Stage:
    """Each rank's first and last known values go to all; a rank goes on from those next to its own rows."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    heights = [height for height, _ in facts]
    rows = numbered(frame, heights, run.comm.rank)
    columns = [_interpolated(expression, rows, heights, node, run) for expression in node.exprs]
    return Stage(frame.with_columns(columns).lazy(), stage.placement)


def _interpolated(
    expression: pl.Expr, rows: pl.DataFrame, heights: Sequence[int], node: Interpolated, run: Execution
) -> pl.Series:
    function = tree(expression)["Alias"][0]["Function"]
    name, rank = expression.meta.output_name(), run.comm.rank
    inputs = [from_tree(child).alias(f"__input{index}") for index, child in enumerate(function["input"])]
    own = run.collect(rows.lazy().select(*inputs, ROW_NUMBER), node)
    if len(inputs) == 2 and sorted_ends(own["__input1"], node, run) is None:
        return computed(rows, [expression], heights, node, run)[name]
    known = own.drop_nulls()
    ends = pl.concat([known.head(1), known.tail(1)]).with_columns(pl.lit(rank, dtype=pl.Int64).alias(_RANK))
    others = replicate(ends, run.comm, node.label())
    before = others.filter(pl.col(_RANK) < rank).tail(1).drop(_RANK)
    after = others.filter(pl.col(_RANK) > rank).head(1).drop(_RANK)
    lead, trail = [before], [after]
    if len(inputs) == 1 and own.height:  # By place: the rows between count, and are nulls.
        start, end = own[ROW_NUMBER][0], own[ROW_NUMBER][-1]
        lead += [own.clear(start - place - 1) for place in before[ROW_NUMBER]]
        trail = [*(own.clear(place - end - 1) for place in after[ROW_NUMBER]), after]
    line = from_tree({"Function": {**function, "input": [{"Column": f"__input{i}"} for i in range(len(inputs))]}})
    near = concat([*lead, own, *trail]).lazy().select(line.alias(name))
    return run.collect(near.slice(sum(part.height for part in lead), own.height), node).to_series()
