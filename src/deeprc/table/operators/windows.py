"""Columns that look at other rows: by key, at nearby rows, or with a value carried from rank to rank."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import polars as pl

from deeprc.table.exchange.exchange import concat, exchange, replicate
from deeprc.table.operators.aggregate import aggregate
from deeprc.table.operators.shuffle import ROW_NUMBER, numbered, shuffle
from deeprc.table.plan.expressions import from_tree, kind, root_columns, tree
from deeprc.table.plan.nodes import Select
from deeprc.table.plan.placement import matching_keys
from deeprc.table.plan.window_nodes import Around, ByKey, Carried, Nearby, Scalars
from deeprc.table.stage import Execution, Stage, compute

_VALUES = "__values__"


def run_scalars(node: Scalars, run: Execution) -> Stage:
    """The aggregates on rank 0, then to all."""
    stage = run.stage(node.input)
    frame = run.collect(stage.frame, node)
    once = aggregate(Select(node.input, node.exprs), Stage(frame.lazy(), stage.placement), run)
    values = replicate(run.collect(once.frame, node), run.comm, node.label())
    return Stage(
        frame.lazy().with_columns(pl.lit(value).first().alias(value.name) for value in values), stage.placement
    )


def run_by_key(node: ByKey, run: Execution) -> Stage:
    """Rows of equal keys meet, in order; what is computed goes back to where the rows are."""
    stage = run.stage(node.input)
    if matching_keys(stage.placement, node.keys) is not None:
        return Stage(node.apply(stage.frame), stage.placement)
    frame, facts = run.measure(stage.frame, node)
    heights = [rows for rows, _ in facts]
    needed = read_columns(node, (*node.keys, *node.exprs))
    arrived = shuffle(numbered(frame.select(needed), heights, run.comm.rank), node.keys, run, node.label())
    results = run.collect(arrived.lazy().select(ROW_NUMBER, *node.exprs), node)
    # Rows arrived in the order of their numbers, and windows keep it: each rank's are next to each other.
    edges = results[ROW_NUMBER].search_sorted(pl.Series(accumulate(heights, initial=0), dtype=pl.Int64)).to_list()
    parts = [results.slice(start, end - start) for start, end in pairwise(edges)]
    back = exchange(parts, run.comm, f"{node.label()} (back)").sort(ROW_NUMBER).drop(ROW_NUMBER)
    return Stage(frame.with_columns(back.get_columns()).lazy(), stage.placement)


def run_nearby(node: Nearby, run: Execution) -> Stage:
    """Each rank gets the rows next to its part, computes, and keeps its own."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    edges = list(accumulate((rows for rows, _ in facts), initial=0))
    base = frame.select(read_columns(node, node.exprs))
    mine = edges[run.comm.rank]
    before = [(max(0, start - node.before), start) for start in edges[:-1]]
    after = [(end, min(edges[-1], end + node.after)) for end in edges[1:]]
    lead, trail = (
        exchange([between(base, mine, wanted) for wanted in ranges], run.comm, node.label()) if reach else base.clear()
        for reach, ranges in ((node.before, before), (node.after, after))
    )
    near = concat([lead, base, trail])
    results = run.collect(near.lazy().select(*node.exprs).slice(lead.height, base.height), node)
    return Stage(frame.with_columns(results.get_columns()).lazy(), stage.placement)


def between(part: pl.DataFrame, first: int, wanted: tuple[int, int]) -> pl.DataFrame:
    """The rows numbered `wanted` of a part whose first row has the number `first`."""
    start, end = (min(max(edge - first, 0), part.height) for edge in wanted)
    return part.slice(start, end - start)


def run_carried(node: Carried, run: Execution) -> Stage:
    """Each rank goes through its part; the last values tell the ranks after it with what to begin."""
    stage = run.stage(node.input)
    frame = run.collect(stage.frame, node)
    steps = [Carry(expression, node) for expression in node.exprs]
    own = run.collect(frame.lazy().select(step.summary for step in steps), node)
    ends = replicate(own, run.comm, node.label())

    def columns() -> list[pl.Series]:
        return [step.column(frame, ends[step.name], run.comm.rank) for step in steps]

    results = run.collect(pl.LazyFrame(columns()), node)
    return Stage(frame.with_columns(results.get_columns()).lazy(), stage.placement)


class Carry:
    """One function that is carried: over values, and over the other ranks' last values."""

    def __init__(self, expression: pl.Expr, node: Around) -> None:
        self.name = expression.meta.output_name()
        self.dtype = node.schema[self.name]
        self.whole = expression
        function = tree(expression)["Alias"][0]["Function"]
        called = function["function"]
        self.values = from_tree(function["input"][0])
        self.function = from_tree({"Function": {**function, "input": [{"Column": _VALUES}]}})
        self.counts = kind(called) == "CumCount"
        options = next(iter(called.values()))
        self.backwards = options.get("reverse", "Backward" in options)

    @property
    def summary(self) -> pl.Expr:
        """The last value, in the direction it goes."""
        known = self.whole.drop_nulls()
        return (known.first() if self.backwards else known.last()).alias(self.name)

    def column(self, frame: pl.DataFrame, ends: pl.Series, rank: int) -> pl.Series:
        """This rank's part of the column, from the last values of all ranks."""
        others = ends[rank + 1 :] if self.backwards else ends[:rank]
        if self.counts:
            total = int(others.sum() or 0)
            return compute(frame.lazy().select((self.whole + total).cast(self.dtype))).to_series()
        carried = self._over(others).drop_nulls()
        carried = carried.head(1) if self.backwards else carried.tail(1)
        values = compute(frame.lazy().select(self.values.cast(self.dtype).alias(_VALUES))).to_series()
        both = self._over(pl.concat([values, carried] if self.backwards else [carried, values]))
        return (both.head(len(values)) if self.backwards else both.tail(len(values))).alias(self.name)

    def _over(self, values: pl.Series) -> pl.Series:
        return compute(pl.LazyFrame([values.alias(_VALUES)]).select(self.function)).to_series().cast(self.dtype)


def read_columns(node: Around, expressions: Sequence[pl.Expr]) -> list[str]:
    """The columns that are read, in their order; one, where none is, since rows have to be counted."""
    schema = node.input.schema
    read = root_columns(expressions, schema)
    return [name for name in schema if name in read] or schema.names()[:1]
