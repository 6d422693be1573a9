"""Exponentially weighted means by a column of times: a change of a rank's first mean decays with time through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from deeprc.table.operators.times import sorted_ends
from deeprc.table.operators.whole import computed
from deeprc.table.plan.expressions import from_tree, tree
from deeprc.table.plan.window_nodes import WeightedInTime
from deeprc.table.stage import Execution, Stage

_VALUE, _BY = "__value__", "__by__"
_PER_UNIT_NS = {"ms": 1_000_000, "us": 1_000, "ns": 1}


def run_weighted_in_time(node: WeightedInTime, run: Execution) -> Stage:
    """One row of each rank goes to all; of times that are not sorted rank 0 computes."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    heights = [rows for rows, _ in facts]
    columns = [_weighted(expression, frame, heights, node, run) for expression in node.exprs]
    return Stage(frame.with_columns(columns).lazy(), stage.placement)


def _weighted(
    expression: pl.Expr, frame: pl.DataFrame, heights: Sequence[int], node: WeightedInTime, run: Execution
) -> pl.Series:
    function = tree(expression)["Alias"][0]["Function"]
    values, by = (from_tree(child) for child in function["input"])
    name = expression.meta.output_name()
    own = run.collect(frame.lazy().select(values.alias(_VALUE), by.alias(_BY)), node)
    times = _steps(own[_BY])
    if sorted_ends(times, node, run) is None:
        return computed(frame, [expression], heights, node, run)[name]
    half_life = _half_life(function["function"]["EwmMeanBy"]["half_life"], own.schema[_BY])
    over = from_tree({"Function": {**function, "input": [{"Column": _VALUE}, {"Column": _BY}]}}).alias(name)
    rows = run.collect(own.lazy().select(over.cast(pl.Float64), pl.lit(times).alias(_BY)), node)
    known = rows.drop_nulls()
    ends = known.head(1).rows() + known.tail(1).rows()
    before: tuple[float, int] | None = None
    for first, last in filter(None, run.comm.all_gather(ends)[: run.comm.rank]):
        before = (last[0] + _change(before, first, half_life) * 0.5 ** ((last[1] - first[1]) / half_life), last[1])
    if before is None or not ends:
        return rows[name].cast(node.schema[name])
    since = (rows[_BY] - ends[0][1]).to_numpy().astype(np.float64) / half_life
    change = pl.Series(_change(before, ends[0], half_life) * 0.5**since)
    return (rows[name] + change).cast(node.schema[name]).alias(name)


def _change(before: tuple[float, int] | None, first: tuple[float, int], half_life: int) -> float:
    """By how much a rank's first mean is another one for what came before it."""
    if before is None:
        return 0.0
    left: float = 0.5 ** ((first[1] - before[1]) / half_life)
    return left * (before[0] - first[0])


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
