"""Interpolation: the value before a part of the table, and the one after it, are all that it needs of the others.

A part is what a rank has or, within a memory budget, one batch of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from deeprc.table.exchange.exchange import concat, replicate, together
from deeprc.table.operators.shuffle import ROW_NUMBER, numbered
from deeprc.table.operators.times import of_unsorted, sorted_ends
from deeprc.table.plan.expressions import dtype_of, from_tree, tree
from deeprc.table.plan.window_nodes import Interpolated
from deeprc.table.stage import Execution, Stage, compute

# So many nulls between a part and the values next to it are not made rows of, where that can be helped.
LONG = 1 << 16
_PART = "__part__"


@dataclass(frozen=True)
class Interpolation:
    """One expression: of values by place, or by another column; `by_number` says it by the numbers of the rows."""

    inputs: tuple[pl.Expr, ...]
    line: pl.Expr
    by_number: pl.Expr | None

    def own(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What is read of rows that have numbers."""
        return compute(rows.lazy().select(*self.inputs, ROW_NUMBER))

    def ends(self, own: pl.DataFrame, part: int) -> pl.DataFrame:
        """What the parts of the table before and after have to know of this one."""
        known = own.drop_nulls()
        ends = known[[0, known.height - 1]] if known.height else known  # A copy: slices would keep all rows.
        return ends.with_columns(pl.lit(part, dtype=pl.Int64).alias(_PART))

    def column(self, own: pl.DataFrame, ends: pl.DataFrame, part: int) -> pl.Series:
        """The values of a part, given the ends of all."""
        before = ends.filter(pl.col(_PART) < part).tail(1).drop(_PART)
        after = ends.filter(pl.col(_PART) > part).head(1).drop(_PART)
        lead, trail, line = [before], [after], self.line
        if len(self.inputs) == 1 and own.height:  # By place: the rows between count, and are nulls.
            gaps = [own[ROW_NUMBER][0] - place - 1 for place in before[ROW_NUMBER]]
            gaps_after = [place - own[ROW_NUMBER][-1] - 1 for place in after[ROW_NUMBER]]
            if sum(gaps + gaps_after) > LONG and self.by_number is not None:
                line = self.by_number
            else:
                lead, trail = [before, *map(own.clear, gaps)], [*map(own.clear, gaps_after), after]
        near = concat([*lead, own, *trail]).lazy().select(line)
        return compute(near.slice(sum(part.height for part in lead), own.height)).to_series()


def interpolation(expression: pl.Expr, node: Interpolated) -> Interpolation:
    """How a column of the node is found."""
    function, name = tree(expression)["Alias"][0]["Function"], expression.meta.output_name()
    inputs = tuple(from_tree(child).alias(f"__input{index}") for index, child in enumerate(function["input"]))
    line = from_tree({"Function": {**function, "input": [{"Column": f"__input{i}"} for i in range(len(inputs))]}})
    by_number = None
    dtype = dtype_of(function["input"][0], node.input.schema)
    if function["function"] == {"Interpolate": "Linear"} and dtype.is_numeric() and not dtype.is_decimal():
        by_number = pl.col("__input0").cast(pl.Float64).interpolate_by(ROW_NUMBER).cast(node.schema[name]).alias(name)
    return Interpolation(inputs, line.alias(name), by_number)


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
    how, doing = interpolation(expression, node), f"computing {node.label()}"
    own, _ = together(run.comm, doing, lambda: how.own(rows), len)
    if len(how.inputs) == 2 and sorted_ends(own["__input1"], node, run) is None:
        return of_unsorted(expression, rows.drop(ROW_NUMBER), how.inputs[1], heights, node, run)
    ends = replicate(how.ends(own, run.comm.rank), run.comm, node.label())
    return together(run.comm, doing, lambda: how.column(own, ends, run.comm.rank), len)[0]
