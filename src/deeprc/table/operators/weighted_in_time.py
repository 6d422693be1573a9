"""Exponentially weighted means by a column of times: a change of a part's first mean decays with time through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from deeprc.table.exchange.exchange import together
from deeprc.table.operators.folded import folded
from deeprc.table.operators.times import of_unsorted, sorted_ends
from deeprc.table.plan.expressions import dtype_of, from_tree, tree
from deeprc.table.plan.window_nodes import Around, WeightedInTime
from deeprc.table.stage import Execution, Stage, compute

_VALUE, _BY = "__value__", "__by__"
_PER_UNIT_NS = {"ms": 1_000_000, "us": 1_000, "ns": 1}
_Moment = tuple[float, int]  # A mean, and when


@dataclass(frozen=True)
class Weighting:
    """One expression over values and sorted times, whose half-life is in the steps of the times."""

    inputs: tuple[pl.Expr, pl.Expr]
    over: pl.Expr
    half_life: int
    dtype: pl.DataType
    name: str
    start: _Moment | None = None

    def times(self, part: pl.DataFrame) -> pl.Series:
        """Times as Polars counts them here: dates in milliseconds."""
        return _steps(compute(part.lazy().select(self.inputs[1])).to_series())

    def rows(self, part: pl.DataFrame) -> pl.DataFrame:
        own = compute(part.lazy().select(*self.inputs))
        means = compute(own.lazy().select(self.over.cast(pl.Float64).alias(self.name)))
        return means.with_columns(_steps(own[_BY]).alias(_BY))

    def ended(self, rows: pl.DataFrame) -> tuple[_Moment, _Moment] | None:
        """The first and the last mean that is known."""
        known = rows.drop_nulls()
        return (known.row(0), known.row(-1)) if known.height else None

    def after(self, before: _Moment | None, ended: tuple[_Moment, _Moment] | None) -> _Moment | None:
        if ended is None:
            return before
        first, last = ended
        change: float = self._change(before, first) * 0.5 ** ((last[1] - first[1]) / self.half_life)
        return last[0] + change, last[1]

    def column(self, rows: pl.DataFrame, before: _Moment | None) -> pl.Series:
        ends, means = self.ended(rows), rows[self.name]
        if before is None or ends is None:
            return means.cast(self.dtype)
        since = (rows[_BY] - ends[0][1]).to_numpy().astype(np.float64) / self.half_life
        change = pl.Series(self._change(before, ends[0]) * 0.5**since)
        return (means + change).cast(self.dtype).alias(self.name)

    def _change(self, before: _Moment | None, first: _Moment) -> float:
        """By how much a part's first mean is another one for what came before it."""
        if before is None:
            return 0.0
        left: float = 0.5 ** ((first[1] - before[1]) / self.half_life)
        return left * (before[0] - first[0])


def weightings(node: Around) -> list[Weighting]:
    """The columns of the node, to be folded."""
    columns = []
    for expression in node.exprs:
        function = tree(expression)["Alias"][0]["Function"]
        values, by = function["input"]
        steps = _half_life(function["function"]["EwmMeanBy"]["half_life"], dtype_of(by, node.input.schema))
        over = from_tree({"Function": {**function, "input": [{"Column": _VALUE}, {"Column": _BY}]}})
        inputs = from_tree(values).alias(_VALUE), from_tree(by).alias(_BY)
        name = expression.meta.output_name()
        columns.append(Weighting(inputs, over, steps, node.schema[name], name))
    return columns


def run_weighted_in_time(node: WeightedInTime, run: Execution) -> Stage:
    """One row of each rank goes to all; rows that are not sorted by their times are sorted first."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    heights = [rows for rows, _ in facts]
    columns = []
    for expression, weighting in zip(node.exprs, weightings(node), strict=True):
        times, _ = together(run.comm, f"computing its part for {node.label()}", partial(weighting.times, frame), len)
        if sorted_ends(times, node, run) is None:
            by = from_tree(tree(expression)["Alias"][0]["Function"]["input"][1])
            columns.append(of_unsorted(expression, frame, by, heights, node, run))
        else:
            columns.append(folded(weighting, frame, node, run))
    return Stage(frame.with_columns(columns).lazy(), stage.placement)


def _steps(times: pl.Series) -> pl.Series:
    """Times as Polars counts them here: dates in milliseconds."""
    if times.dtype == pl.Date:
        times = times.cast(pl.Datetime("ms"))
    return times.to_physical().cast(pl.Int64)


def _half_life(parts: Mapping[str, Any], by: pl.DataType) -> int:
    """In the steps of the column."""
    duration = int(parts["nsecs"])  # Polars takes no days: their length depends on the zone.
    if by == pl.Date:
        return duration // _PER_UNIT_NS["ms"]
    return duration // _PER_UNIT_NS[by.time_unit] if isinstance(by, pl.Datetime) else duration
