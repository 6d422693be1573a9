"""Aggregates of a whole table: each by the way that moves least.

Sums and the like begin on each rank; distinct values are counted where their hash sends them; quantiles are found
without moving values; for what is left the columns that are read go to rank 0. What is computed from several
aggregates is computed from their values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from deeprc.table.exchange.exchange import gather, together
from deeprc.table.operators.selection import quantile
from deeprc.table.operators.shuffle import shuffle
from deeprc.table.partial.decompose import Decomposed, decompose
from deeprc.table.plan.expressions import (
    Tree,
    dtype_of,
    from_tree,
    is_abridged,
    is_scalar,
    kind,
    reads_by_selector,
    rebuilt,
    root_columns,
    splits,
    tree,
)
from deeprc.table.plan.lowering import of_other_rows
from deeprc.table.plan.nodes import Node, Select, Source
from deeprc.table.stage import Execution, Stage, compute

_VALUE = "__value__"
# Begun on each rank; by the hash of values; by counting values on all ranks; by operators of a table; on rank 0.
Way = Literal["parts", "hash", "counts", "table", "rank 0"]


def aggregate(step: Select, stage: Stage, run: Execution) -> Stage:
    """Aggregates over the whole table: one row, on rank 0."""
    decomposed = decompose(step.exprs, step.input.schema, step.schema, grouped=False)
    if decomposed is not None and step.exprs:
        return _first_on_each_rank(decomposed, step, stage, run)
    apart = taken_apart(step)
    names = [name for name in step.input.schema if name in root_columns(step.exprs, step.input.schema)]
    frame = run.collect(stage.frame.select(names or step.input.schema.names()[:1]), step)
    values = _values(apart, frame, step, run)
    if run.comm.rank:
        return Stage(pl.LazyFrame(schema=step.schema))
    return Stage(pl.LazyFrame(values).select(apart.finals).cast(step.schema))


def _first_on_each_rank(decomposed: Decomposed, step: Select, stage: Stage, run: Execution) -> Stage:
    parts = gather(run.collect(stage.frame.select(*decomposed.partial), step), run.comm, step.label())
    if run.comm.rank:
        return Stage(pl.LazyFrame(schema=step.schema))
    return Stage(parts.lazy().select(*decomposed.final))


@dataclass
class Apart:
    """Aggregates by name, and the expressions of the result over their values."""

    leaves: dict[str, Tree] = field(default_factory=dict)
    finals: list[pl.Expr] = field(default_factory=list)

    def final(self, node: Tree) -> Tree:
        if kind(node) == "Literal":
            return node
        changed = None if kind(node) in ("Agg", "Len") else rebuilt(node, self.final)
        if changed is not None:
            return changed
        if not is_scalar(from_tree(node)):
            raise ValueError("not an aggregate")
        name = f"__leaf{len(self.leaves)}"
        self.leaves[name] = node
        return {"Column": name}


def taken_apart(step: Select) -> Apart:
    """The aggregates one by one; an expression that can't be read stays whole."""
    apart = Apart()
    for item in step.exprs:
        node, before = tree(item), dict(apart.leaves)
        readable = not reads_by_selector(node) and not is_abridged(node)
        name = item.meta.output_name(raise_if_undetermined=False)
        try:
            if not readable or name is None:
                raise ValueError("not to be taken apart")
            final = from_tree(apart.final(node)).alias(name)
        except (ValueError, pl.exceptions.PolarsError):
            apart.leaves = before
            return _whole(step)
        apart.finals.append(final)
    return apart


def _whole(step: Select) -> Apart:
    """Every expression as one aggregate, which gives columns of the result's names."""
    return Apart({}, [pl.col(name) for name in step.schema])


def _values(apart: Apart, frame: pl.DataFrame, step: Select, run: Execution) -> list[pl.Series]:
    """The aggregates' values; on rank 0 all of them are right."""
    if not apart.leaves:
        return _on_root(step.exprs, frame, step, run)
    schema = step.input.schema
    halves: list[pl.Expr] = []
    rest: list[pl.Expr] = []
    values: list[pl.Series] = []
    for name, node in apart.leaves.items():
        expression, dtype = from_tree(node).alias(name), dtype_of(node, schema)
        way = way_of(node, schema)
        if way == "parts":
            halves.append(expression)
        elif way == "rank 0":
            rest.append(expression)
        elif way == "table":
            values.append(_of_other_rows(expression, frame, step, run).cast(dtype).alias(name))
        else:
            values.append(_collectively(node, frame, step, run).cast(dtype).alias(name))
    if halves:
        taken = Select(step.input, tuple(halves))
        decomposed = decompose(taken.exprs, schema, taken.schema, grouped=False)
        assert decomposed is not None
        values += _collected(_first_on_each_rank(decomposed, taken, Stage(frame.lazy()), run), run)
    return [*values, *(_on_root(rest, frame, step, run) if rest else [])]


def _collected(stage: Stage, run: Execution) -> list[pl.Series]:
    return [] if run.comm.rank else compute(stage.frame).get_columns()


def way_of(node: Tree, schema: pl.Schema) -> Way:
    """By which way an aggregate of a whole table of this schema is computed."""
    expression = from_tree(node).alias(_VALUE)
    if decompose([expression], schema, pl.Schema({_VALUE: dtype_of(node, schema)}), grouped=False) is not None:
        return "parts"
    counted = counted_values(node)
    if counted is not None and splits(counted, schema):
        return "hash"
    found = quantile_of(node)
    if found is not None and splits(found[0], schema):
        numbers = as_numbers(from_tree(found[0]), dtype_of(found[0], schema), dtype_of(node, schema))
        if numbers is not None:
            return "counts"
    return "rank 0" if _plan_of_other_rows(expression, pl.LazyFrame(schema=schema), "") is None else "table"


def _collectively(node: Tree, frame: pl.DataFrame, step: Select, run: Execution) -> pl.Series:
    """The value of a distinct count or a quantile, as a column of one row."""
    schema = step.input.schema
    found = quantile_of(node)
    if found is None:
        return pl.Series([_distinct(counted_values(node), frame, step, run)])
    values, part, method = found
    numbers = as_numbers(from_tree(values), dtype_of(values, schema), dtype_of(node, schema))
    assert numbers is not None
    column = run.collect(frame.lazy().select(numbers.alias(_VALUE)), step).to_series()
    value = quantile(column, part, method, run.comm)
    return as_quantile(value, dtype_of(node, schema))


def counted_values(node: Tree) -> Tree | None:
    """The operand of `n_unique`, or of `approx_n_unique`, whose estimate is the count itself here."""
    if kind(node) == "Agg" and kind(node["Agg"]) == "NUnique":
        found: Tree = node["Agg"]["NUnique"]
        return found
    approximate = kind(node) == "Function" and kind(node["Function"]["function"]) == "ApproxNUnique"
    return node["Function"]["input"][0] if approximate else None


def _of_other_rows(expression: pl.Expr, frame: pl.DataFrame, step: Select, run: Execution) -> pl.Series:
    """An aggregate of, say, distinct values, by the operators of a table; a row on rank 0 alone."""
    plan = _plan_of_other_rows(expression, frame.lazy(), step.label())
    assert plan is not None
    value = run.collect(run.stage(plan).frame, step).to_series()
    return value if run.comm.rank == 0 else value.clear()


def _plan_of_other_rows(expression: pl.Expr, frame: pl.LazyFrame, label: str) -> Node | None:
    rows = Source(f"COLUMNS OF {label}", frame.collect_schema(), lambda _: frame)
    return of_other_rows(Select(rows, (expression,)))


def as_numbers(values: pl.Expr, dtype: pl.DataType, result: pl.DataType) -> pl.Expr | None:
    """The values as numbers, of which Polars finds quantiles; those of times are floats, as they are to Polars."""
    if dtype == pl.Boolean:
        return values.cast(pl.Int8)
    if dtype.is_temporal() and result.is_temporal():
        return values.cast(result).to_physical().cast(pl.Float64)
    return values if dtype.is_numeric() and not dtype.is_decimal() else None


def as_quantile(value: float | None, dtype: pl.DataType) -> pl.Series:
    """The quantile of what `as_numbers` made of values, as a column of one row."""
    if value is None or not dtype.is_temporal():
        return pl.Series([value], dtype=dtype)
    return pl.Series([int(value)]).cast(dtype)


def _distinct(values: Tree, frame: pl.DataFrame, step: Select, run: Execution) -> int:
    own = run.collect(frame.lazy().select(from_tree(values).alias(_VALUE)).unique(), step)
    met = shuffle(own, [pl.col(_VALUE)], run, step.label())
    return sum(run.comm.all_gather(met.n_unique() if met.height else 0))


def quantile_of(node: Tree) -> tuple[Tree, float, str] | None:
    """Operand, part of one and method of a median or a quantile by a plain number."""
    if kind(node) == "Agg" and kind(node["Agg"]) == "Median":
        return node["Agg"]["Median"], 0.5, "linear"
    if kind(node) != "Function" or kind(node["Function"]["function"]) != "Quantile":
        return None
    values, part = node["Function"]["input"]
    number = pl.select(from_tree(part)).item() if kind(part) == "Literal" else None
    if not isinstance(number, int | float) or not 0 <= number <= 1:
        return None
    return values, float(number), str(node["Function"]["function"]["Quantile"]["method"]).lower()


def _on_root(expressions: Sequence[pl.Expr], frame: pl.DataFrame, step: Select, run: Execution) -> list[pl.Series]:
    """Computed on rank 0 from the columns that are read."""
    schema = step.input.schema
    read = root_columns(expressions, schema)
    needed = [name for name in frame.columns if name in read] or frame.columns[:1]
    whole = gather(frame.select(needed), run.comm, step.label())
    result, _ = together(
        run.comm,
        f"computing {step.label()}",
        lambda: [] if run.comm.rank else compute(whole.rechunk().lazy().select(*expressions)).get_columns(),
        lambda _: None,
    )
    return result
