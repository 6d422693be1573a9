"""Windows of time, or of another sorted column, over pieces: batches with the rows that their windows reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from deeprc.table.operators.times import (
    LOWER,
    moments,
    moved,
    reached,
)
from deeprc.table.plan.expressions import from_tree, root_columns, tree
from deeprc.table.plan.window_nodes import InTime, TimeWindows
from deeprc.table.spill.context import Numbered, Spilling
from deeprc.table.spill.pieces import Pieces, of_frames
from deeprc.table.spill.timeline import FIRST, FROM, LAST, TIME, TO, Near, Spans, View, neighbours, spans
from deeprc.table.spill.windows import around
from deeprc.table.stage import compute

_VALUE, _BY = "__value__", "__by__"


def in_time(node: InTime, run: Spilling) -> Pieces:
    """`rolling_*_by`: of rows that are not sorted by the other column rank 0 computes."""
    rows = run.numbered(run.pieces(node.input), node.label())
    columns = []
    for expression in node.exprs:
        function = tree(expression)["Alias"][0]["Function"]
        values, by = (from_tree(child) for child in function["input"])
        view = _timed(values.alias(_VALUE), by.alias(_BY))
        found = spans(rows, view, node, run)
        if not found.in_order:
            return around(node, rows, run)
        wanted = reached(found.ends, [f"-{node.window}"], [], view(rows.kept.pieces.empty).schema[_BY])
        near = neighbours(rows, found, wanted, view, node, run)
        over = from_tree({"Function": {**function, "input": [{"Column": _VALUE}, {"Column": _BY}]}})
        columns.append((near, over.alias(expression.meta.output_name())))

    def frames() -> Iterator[pl.DataFrame]:
        streams = [map(lambda one, over=over: _own(one, over), near()) for near, over in columns]  # type: ignore[misc]
        for batch, *found in zip(rows.kept.batches(), *streams, strict=True):
            yield batch.with_columns(found)

    return of_frames(frames, node.schema, again=True, placement=rows.kept.pieces.placement)


def _own(near: Near, expression: pl.Expr) -> pl.Series:
    """The values of the batch's own rows."""
    return compute(near.rows.lazy().select(expression).slice(near.lead, near.height)).to_series()


def _timed(values: pl.Expr, by: pl.Expr) -> View:
    def view(batch: pl.DataFrame) -> pl.DataFrame:
        seen = compute(batch.lazy().select(values, by))
        return seen.with_columns(moments(seen[_BY]).alias(TIME))

    return view


def time_windows(node: TimeWindows, run: Spilling) -> Pieces:
    """`rolling` and `group_by_dynamic` of the whole table. Of an unsorted one rank 0 says what Polars says."""
    rows = run.numbered(run.pieces(node.input), node.label())
    read = {node.index, *root_columns(node.aggs, node.input.schema)}
    names = [name for name in node.input.schema if name in read]

    def view(batch: pl.DataFrame) -> pl.DataFrame:
        return batch.select(names).with_columns(moments(batch[node.index]).alias(TIME))

    found = spans(rows, view, node, run)
    if not found.in_order or not node.grid_is_fixed:
        return run.in_memory(replace(node, input=rows.source(node.label())))
    index = node.input.schema[node.index]
    if node.operator == "rolling":
        wanted = reached(found.ends, [node.offset], [node.offset, node.period], index)
        near = neighbours(rows, found, wanted, view, node, run)
        return of_frames(lambda: (_rolled(one, node) for one in near()), node.schema, again=True)
    return _dynamic(node, rows, found, view, run)


def _rolled(near: Near, node: TimeWindows) -> pl.DataFrame:
    return compute(node.apply(near.rows.drop(TIME).lazy()).slice(near.lead, near.height))


def _dynamic(node: TimeWindows, rows: Numbered, found: Spans, view: View, run: Spilling) -> Pieces:
    """A window is computed where its lower bound falls: not before a batch's first row, and before the next one's."""
    ends = found.ends
    final = pl.lit(ends[LAST].max(), dtype=ends.schema[LAST])
    until = moved(pl.col(FIRST).shift(-1).fill_null(final), [node.period], node.input.schema[node.index])
    wanted = ends.select(pl.col(FIRST).alias(FROM), pl.max_horizontal(LAST, until).alias(TO))
    near = neighbours(rows, found, wanted, view, node, run)
    before = found.edges[run.comm.rank]

    def windows(one: Near) -> pl.DataFrame:
        result = compute(node.with_boundaries(one.rows.drop(TIME).lazy()))
        lower = moments(result[LOWER]).cast(ends.schema[FIRST])
        kept, number = pl.repeat(True, result.height, eager=True, dtype=pl.Boolean), before + one.number
        if number:
            kept &= lower >= ends[FIRST].slice(number, 1)
        if number + 1 < ends.height:
            kept &= lower < ends[FIRST].slice(number + 1, 1)
        return result.filter(kept).select(node.schema.names())

    return of_frames(lambda: map(windows, near()), node.schema, again=True)
