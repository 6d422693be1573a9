"""Operators that need the whole table in one place, and steps that look at other rows than their own."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from deeprc.table.exchange.exchange import gather, scatter, together
from deeprc.table.operators.aggregate import aggregate
from deeprc.table.plan.expressions import is_scalar, root_columns
from deeprc.table.plan.nodes import Filter, Node, Select, Step, WithColumns
from deeprc.table.plan.placement import after_step
from deeprc.table.stage import Execution, Stage, compute

_KEEP = "__keep__"


def run_step(step: Step, run: Execution) -> Stage:
    """A step on this rank's rows; what looks at other rows is computed over all of them."""
    stage = run.stage(step.input)
    if isinstance(step, Select) and all(is_scalar(item) for item in step.exprs):
        return aggregate(step, stage, run)
    if not step.looks_around:
        return Stage(step.apply(stage.frame), after_step(step, stage.placement), stage.streams)
    if isinstance(step, Select):
        return _select_around(step, stage, run)
    base, facts = run.measure(stage.frame, step)
    heights = [rows for rows, _ in facts]
    row_wise = [item for item in step.expressions if not any(item is other for other in step.looks_around)]
    if isinstance(step, Filter):
        keep = computed(base, [pl.all_horizontal(*step.looks_around).alias(_KEEP)], heights, step, run)
        kept = base.filter(keep[_KEEP]).lazy()
        return Stage(kept.filter(*row_wise) if row_wise else kept, stage.placement)
    around = computed(base, step.looks_around, heights, step, run)
    local = run.collect(base.lazy().with_columns(*row_wise), step)
    combined = local.with_columns(around.get_columns()).select(step.schema.names())
    return Stage(combined.lazy(), after_step(step, stage.placement))


def computed(
    base: pl.DataFrame, expressions: Sequence[pl.Expr], heights: Sequence[int], step: Step, run: Execution
) -> pl.DataFrame:
    """This rank's rows of expressions over the whole table: rank 0 gets the columns they read, and no others."""
    schema = step.input.schema
    empty = pl.LazyFrame(schema=schema)
    columns = empty.select(*expressions).collect_schema()
    needed = _in_order(root_columns(expressions, schema), schema) or schema.names()[:1]
    operator = step.label()
    whole = gather(base.select(needed), run.comm, operator)
    evaluated = WithColumns(step.input, tuple(expressions))
    result, _ = together(
        run.comm,
        f"computing {operator}",
        lambda: (
            pl.DataFrame(schema=columns)
            if run.comm.rank
            else compute(evaluated.apply(_in_one_piece(whole)).select(columns.names()))
        ),
        lambda frame: None,
    )
    return scatter(result, heights, run.comm, operator)


def _in_one_piece(whole: pl.DataFrame) -> pl.LazyFrame:
    """Of the parts that came, since some of Polars' expressions, as `rle`, panic over several."""
    return whole.rechunk().lazy()


def _select_around(step: Select, stage: Stage, run: Execution) -> Stage:
    schema = step.input.schema
    needed = _in_order(root_columns(step.exprs, schema), schema) or schema.names()[:1]
    base, facts = run.measure(stage.frame.select(needed), step)
    whole = gather(base, run.comm, step.label())
    result, heights = together(
        run.comm,
        f"computing {step.label()}",
        lambda: compute(step.apply(_in_one_piece(whole))) if run.comm.rank == 0 else pl.DataFrame(schema=step.schema),
        lambda frame: frame.height,
    )
    counts = [rows for rows, _ in facts]
    if sum(counts) != heights[0]:
        counts = even_counts(heights[0], run.comm.size)
    return Stage(scatter(result, counts, run.comm, step.label()).lazy())


def run_whole(node: Node, run: Execution, parts: Sequence[pl.DataFrame] | None = None) -> Stage:
    """An operator that no exchange makes local: rank 0 does it on all rows. `parts` are this rank's, where known."""
    own = parts or [run.collect(run.stage(source).frame, node) for source in node.inputs]
    frames = [gather(part, run.comm, node.label()).lazy() for part in own]
    result, _ = together(
        run.comm,
        f"computing {node.label()}",
        lambda: compute(node.apply(*frames)) if run.comm.rank == 0 else pl.DataFrame(schema=node.schema),
        lambda frame: None,
    )
    return Stage(result.lazy())


def even_counts(rows: int, size: int) -> list[int]:
    """How many of `rows` each rank gets when they are spread evenly, in order."""
    return [(rows * (rank + 1) + size - 1) // size - (rows * rank + size - 1) // size for rank in range(size)]


def _in_order(names: frozenset[str], schema: pl.Schema) -> list[str]:
    return [name for name in schema if name in names]
