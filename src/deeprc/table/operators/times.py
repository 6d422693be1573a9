"""Windows of time, or of another sorted column: each rank gets the rows of the others that its windows reach."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

import polars as pl

from deeprc.table.exchange.exchange import exchange, replicate, together
from deeprc.table.operators.in_order import in_order
from deeprc.table.operators.whole import computed, run_whole
from deeprc.table.operators.windows import read_columns
from deeprc.table.plan.expressions import from_tree, tree
from deeprc.table.plan.nodes import Node
from deeprc.table.plan.window_nodes import Around, InTime, Rolled, TimeWindows
from deeprc.table.stage import Execution, Stage, compute

_TIME, _RANK, LOWER = "__time__", "__rank__", "_lower_boundary"
_VALUE, _BY = "__value__", "__by__"
_ZONES = "26h"  # A day of a zone's clock may be so much shorter or longer.


def run_time_windows(node: TimeWindows, run: Execution) -> Stage:
    """`rolling` and `group_by_dynamic` of the whole table. Of an unsorted one rank 0 says what Polars says."""
    frame = run.collect(run.stage(node.input).frame, node)
    times = moments(frame[node.index])
    ends = sorted_ends(times, node, run)
    if ends is None or not node.grid_is_fixed:
        return run_whole(node, run, [frame])
    if node.operator == "rolling":
        lead, near = _reached(frame, times, ends, [node.offset], [node.offset, node.period], node, run)
        return Stage(node.apply(near.lazy()).slice(lead, frame.height))
    return Stage(_dynamic(node, frame, times, ends, run).lazy())


def _dynamic(
    node: TimeWindows, frame: pl.DataFrame, times: pl.Series, ends: pl.DataFrame, run: Execution
) -> pl.DataFrame:
    """A window is computed where its lower bound falls: not before a rank's first row, and before the next rank's."""
    firsts = ends.group_by(_RANK, maintain_order=True).agg(pl.col(_TIME).first().alias("from"))
    starts = dict(firsts.rows())
    final = pl.lit(ends[_TIME].max(), dtype=times.dtype)
    until = moved(pl.col("from").shift(-1).fill_null(final), [node.period], frame.schema[node.index])
    wanted = firsts.with_columns(until.alias("to"))
    _, near = _between(frame, times, wanted, node, run)
    before = [starts[rank] for rank in starts if rank <= run.comm.rank]
    after = [starts[rank] for rank in starts if rank > run.comm.rank]

    def windows() -> pl.DataFrame:
        if run.comm.rank not in starts:
            return pl.DataFrame(schema=node.schema)
        found = compute(node.with_boundaries(near.lazy()))
        lower = moments(found[LOWER]).cast(times.dtype)
        kept = pl.repeat(True, found.height, eager=True, dtype=pl.Boolean)
        if len(before) > 1:
            kept &= lower >= pl.Series(before[-1:], dtype=times.dtype)
        if after:
            kept &= lower < pl.Series(after[:1], dtype=times.dtype)
        return found.filter(kept).select(node.schema.names())

    return together(run.comm, f"computing {node.label()}", windows, lambda _: None)[0]


def run_in_time(node: InTime, run: Execution) -> Stage:
    """`rolling_*_by`: rows that are not sorted by the other column are sorted first, and results go back."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    heights = [rows for rows, _ in facts]
    columns = [_in_time(expression, frame, heights, node, run) for expression in node.exprs]
    return Stage(frame.with_columns(columns).lazy(), stage.placement)


def _in_time(
    expression: pl.Expr, frame: pl.DataFrame, heights: Sequence[int], node: InTime, run: Execution
) -> pl.Series:
    function = tree(expression)["Alias"][0]["Function"]
    values, by = (from_tree(child) for child in function["input"])
    own = run.collect(frame.lazy().select(values.alias(_VALUE), by.alias(_BY)), node)
    times = moments(own[_BY])
    ends = sorted_ends(times, node, run)
    name = expression.meta.output_name()
    if ends is None:
        return of_unsorted(expression, frame, by, heights, node, run)
    lead, near = _reached(own, times, ends, [f"-{node.window}"], [], node, run)
    over = from_tree({"Function": {**function, "input": [{"Column": _VALUE}, {"Column": _BY}]}}).alias(name)
    return run.collect(near.lazy().select(over).slice(lead, own.height), node)[name]


def of_unsorted(
    expression: pl.Expr, frame: pl.DataFrame, by: pl.Expr, heights: Sequence[int], node: Around, run: Execution
) -> pl.Series:
    """A column that depends on rows in the order of another one; where this has nulls rank 0 computes."""
    nulls = run.collect(frame.lazy().select(by.null_count()), node).item()
    if any(run.comm.all_gather(nulls)):
        return computed(frame, [expression], heights, node, run)[expression.meta.output_name()]
    return in_order(expression, frame, [by], (False, False), heights, node, run)


def run_rolled(node: Rolled, run: Execution) -> Stage:
    """`rolling` of an expression: each rank gets the rows that its windows reach."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    base = frame.select(read_columns(node, (*node.exprs, node.index)))
    own = run.collect(base.lazy().with_columns(node.index.alias(_BY)), node)
    times = moments(own[_BY])
    ends = sorted_ends(times, node, run)
    if ends is None:
        columns = computed(frame, node.exprs, [rows for rows, _ in facts], node, run)
    else:
        lead, near = _reached(own, times, ends, [node.offset], [node.offset, node.period], node, run)
        columns = run.collect(near.lazy().select(*node.exprs).slice(lead, own.height), node)
    return Stage(frame.with_columns(columns.get_columns()).lazy(), stage.placement)


def sorted_ends(key: pl.Series, node: Node, run: Execution) -> pl.DataFrame | None:
    """The first and the last key of each rank that has rows; None where the keys of all ranks are not in order."""
    fine = run.comm.all_gather(key.null_count() == 0 and key.is_sorted())
    own = pl.DataFrame({_TIME: pl.concat([key.head(1), key.tail(1)])})
    ends = replicate(own.with_columns(pl.lit(run.comm.rank, dtype=pl.Int64).alias(_RANK)), run.comm, node.label())
    return ends if all(fine) and ends[_TIME].is_sorted() else None


def _reached(
    frame: pl.DataFrame,
    times: pl.Series,
    ends: pl.DataFrame,
    back: Sequence[str],
    on: Sequence[str],
    node: InTime | Rolled | TimeWindows,
    run: Execution,
) -> tuple[int, pl.DataFrame]:
    """This rank's rows with those from `back` before its first to `on` after its last; how many come before."""
    dtype = frame.schema[node.index if isinstance(node, TimeWindows) else _BY]
    spans = ends.group_by(_RANK, maintain_order=True).agg(first=pl.col(_TIME).first(), last=pl.col(_TIME).last())
    wanted = reached(spans, back, on, dtype).with_columns(spans[_RANK])
    return _between(frame, times, wanted, node, run)


def reached(spans: pl.DataFrame, back: Sequence[str], on: Sequence[str], dtype: pl.DataType) -> pl.DataFrame:
    """For each part of the rows what it has to see: "from" `back` before its "first" time "to" `on` after its "last".

    `dtype` is that of the column, of which the times are moments.
    """
    earliest = pl.min_horizontal("first", moved(pl.col("first"), back, dtype, earlier=True))
    latest = pl.max_horizontal("last", moved(pl.col("last"), on, dtype))
    return spans.select(earliest.alias("from"), latest.alias("to"))


def _between(
    frame: pl.DataFrame, times: pl.Series, wanted: pl.DataFrame, node: Node, run: Execution
) -> tuple[int, pl.DataFrame]:
    """This rank's rows with those of others in the range that it wants, ends included; how many come before its own."""
    lows = times.search_sorted(wanted["from"].cast(times.dtype), "left").to_list()
    highs = times.search_sorted(wanted["to"].cast(times.dtype), "right").to_list()
    parts = [frame.clear()] * run.comm.size
    for rank, low, high in zip(wanted[_RANK].to_list(), lows, highs, strict=True):
        parts[rank] = frame.slice(low, max(high - low, 0))
    parts[run.comm.rank] = frame
    sent = run.comm.all_gather([part.height for part in parts])
    near = exchange(parts, run.comm, node.label())
    return list(accumulate((heights[run.comm.rank] for heights in sent), initial=0))[run.comm.rank], near


def moments(values: pl.Series) -> pl.Series:
    """Times as moments without a zone, numbers as integers."""
    if values.dtype == pl.Date:
        return values.cast(pl.Datetime("us"))
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.replace_time_zone(None) if values.dtype.time_zone is None else _utc(values)
    return values.cast(pl.Int64, strict=False) if values.dtype.is_integer() else values


def _utc(values: pl.Series) -> pl.Series:
    return values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def moved(moment: pl.Expr, durations: Sequence[str], dtype: pl.DataType, *, earlier: bool = False) -> pl.Expr:
    """The moment with durations in Polars' words added to it; a little too far where a zone's clock may be set."""
    if not dtype.is_temporal():
        return moment + sum(int(steps) for text in durations for steps in _signed(text))
    zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    more = (
        ["-" + _ZONES if earlier else _ZONES]
        if zoned and any(re.search("[dwqy]|mo", text) for text in durations)
        else []
    )
    for text in [*durations, *more]:
        moment = moment.dt.offset_by(text)
    return moment


def _signed(text: str) -> list[str]:
    """The steps of an integer column, as "-2i"."""
    sign = "-" if text.startswith("-") else ""
    return [sign + steps for steps in re.findall(r"(\d+)i", text)]
