"""Aggregates of a whole table, over pieces: begun on each batch, or by sorting or counting what is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from deeprc.table.exchange.exchange import concat, gather, replicate, together
from deeprc.table.operators.aggregate import as_numbers, as_quantile, quantile_of, taken_apart
from deeprc.table.operators.selection import PLACES
from deeprc.table.partial.decompose import Decomposed, decompose
from deeprc.table.plan.expressions import (
    Tree,
    dtype_of,
    from_tree,
    is_abridged,
    is_scalar,
    kind,
    reads_by_selector,
    splits,
    tree,
)
from deeprc.table.plan.lowering import of_other_rows
from deeprc.table.plan.nodes import Filter, Select, Sort, Source, Unique
from deeprc.table.plan.window_nodes import Scalars
from deeprc.table.spill.context import Numbered, Spilling, unread
from deeprc.table.spill.pieces import Pieces

_VALUE = "__value__"


def is_bounded(node: Select) -> bool:
    """Whether the aggregates can be had without holding a column; of several each may be had in its own way."""
    if not node.exprs or not all(is_scalar(item) for item in node.exprs):
        return False
    leaves = _leaves(node)[0]
    return len(leaves) > 1 or any(_way(item, node.input.schema) is not None for item in leaves)


def select(node: Select, run: Spilling) -> Pieces:
    """One row, on rank 0."""
    if _halves(node.exprs, node.input.schema) is not None:
        part = _aggregated(run.pieces(node.input), node.exprs, node, run)
    else:
        part = _one_by_one(node, run.numbered(run.pieces(node.input), node.label()), run)
    part = part.select(node.schema.names()) if run.comm.rank == 0 else pl.DataFrame(schema=node.schema)
    return Pieces(node.schema, lambda: iter([part.lazy()]), again=True)


def _leaves(node: Select) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """The aggregates one by one, each of a name, and the result's columns over their values."""
    apart = taken_apart(node)
    if not apart.leaves:
        return list(node.exprs), apart.finals
    return [from_tree(leaf).alias(name) for name, leaf in apart.leaves.items()], apart.finals


def _one_by_one(node: Select | Scalars, rows: Numbered, run: Spilling) -> pl.DataFrame:
    """The row, on rank 0: what begins on batches at once; of all else one after another, since each may hold much."""
    source = rows.source(node.label())
    leaves, finals = _leaves(Select(source, node.exprs))
    ways = [_way(item, source.schema) for item in leaves]
    halves = [item for item, way in zip(leaves, ways, strict=True) if way == "halves"]
    columns = _aggregated(rows.kept.pieces, halves, node, run).get_columns() if halves else []
    for item, way in zip(leaves, ways, strict=True):
        if way == "halves":
            continue
        one = Select(source, (item,))
        if way == "distinct":
            columns.append(pl.Series([_distinct(item, source, run)], dtype=one.schema.dtypes()[0]))
        elif way == "quantile":
            columns.append(_quantile(item, source, node, run))
        else:
            pieces = run.pieces((of_other_rows(one) if way == "rows" else None) or one)
            columns += concat([pieces.empty, *pieces.batches(run.room)]).get_columns()
        columns[-1] = columns[-1].alias(one.schema.names()[0])
    schema = Select(source, node.exprs).schema
    return pl.DataFrame(schema=schema) if run.comm.rank else pl.DataFrame(columns).select(finals).cast(schema)


def _way(item: pl.Expr, schema: pl.Schema) -> Literal["halves", "distinct", "quantile", "rows"] | None:
    if _halves([item], schema) is not None:
        return "halves"
    node = _unnamed(item)
    if reads_by_selector(node) or is_abridged(node):
        return None
    if kind(node) == "Agg" and kind(node["Agg"]) == "NUnique":
        return "distinct" if splits(node["Agg"]["NUnique"], schema) else None
    found = quantile_of(node)
    if found is not None and splits(found[0], schema):
        return None if _numbers_of(found[0], node, schema) is None else "quantile"
    return "rows" if of_other_rows(Select(_nothing(schema), (item,))) is not None else None


def _numbers_of(values: Tree, quantile: Tree, schema: pl.Schema) -> pl.Expr | None:
    return as_numbers(from_tree(values), dtype_of(values, schema), dtype_of(quantile, schema))


def _nothing(schema: pl.Schema) -> Source:
    """Stands for rows of which only the columns matter."""
    return Source("no rows", schema, unread)


def _unnamed(item: pl.Expr) -> Tree:
    node = tree(item)
    while kind(node) == "Alias":
        node = node["Alias"][0]
    return node


def _distinct(item: pl.Expr, source: Source, run: Spilling) -> int:
    values = from_tree(_unnamed(item)["Agg"]["NUnique"]).alias(_VALUE)
    pieces = run.pieces(Unique(Select(source, (values,)), (_VALUE,)))
    _, facts = together(
        run.comm, "counting distinct values", lambda: sum(part.height for part in pieces.batches(run.room)), int
    )
    return sum(facts)


def _quantile(item: pl.Expr, source: Source, node: Select | Scalars, run: Spilling) -> pl.Series:
    found = quantile_of(_unnamed(item))
    assert found is not None
    values, part, method = found
    numbers = _numbers_of(values, _unnamed(item), source.schema)
    assert numbers is not None
    place = _value_at_part(Select(source, (numbers.alias(_VALUE),)), part, method, node, run)
    return as_quantile(place, dtype_of(_unnamed(item), source.schema))


def _value_at_part(numbers: Select, part: float, method: str, node: Select | Scalars, run: Spilling) -> float | None:
    """From the values at the one or two places among the sorted ones."""
    known = Filter(numbers, (pl.col(_VALUE).is_not_null(),))
    rows = run.numbered(run.pieces(Sort(known, (pl.col(_VALUE),), (False,), (False,))), node.label())
    if not sum(rows.heights):
        return None
    low, high, weight = PLACES[method](part, sum(rows.heights))
    at, _ = together(
        run.comm,
        f"computing {node.label()}",
        lambda: {place: value for place in (low, high) if (value := _at(place, rows)) is not None},
        lambda _: None,
    )
    values_at = {place: value for of_rank in run.comm.all_gather(at) for place, value in of_rank.items()}
    below, above = values_at[low], values_at[high]
    return below if below == above or not weight else below + (above - below) * weight


def _at(place: int, rows: Numbered) -> float | None:
    start = rows.edges[rows.rank]
    for batch in rows.kept.batches():
        if start <= place < start + batch.height:
            return float(batch[_VALUE][place - start])
        start += batch.height
    return None


def scalars(node: Scalars, run: Spilling) -> Pieces:
    """Aggregates in every row."""
    rows = run.numbered(run.pieces(node.input), node.label())
    values = replicate(_one_by_one(node, rows, run), run.comm, node.label())
    columns = [pl.lit(value).first().alias(value.name) for value in values]
    stored = rows.kept.pieces
    return stored.map(lambda frame: frame.with_columns(columns), node.schema, stored.placement)


def _aggregated(pieces: Pieces, expressions: Sequence[pl.Expr], node: Select | Scalars, run: Spilling) -> pl.DataFrame:
    """One row, on rank 0. Collective."""
    halves = _halves(expressions, node.input.schema)
    assert halves is not None

    def begun() -> pl.DataFrame:
        parts = [batch.lazy().select(*halves.partial).collect() for batch in pieces.batches(run.room)]
        return concat(parts or [pieces.empty.lazy().select(*halves.partial).collect()])

    own, _ = together(run.comm, f"computing its part for {node.label()}", begun, lambda _: None)
    parts = gather(own, run.comm, node.label()).lazy()
    ended = parts.select(*halves.final) if run.comm.rank == 0 else parts.select(*halves.final).clear()
    return together(run.comm, f"computing {node.label()}", ended.collect, lambda _: None)[0]


def _halves(expressions: Sequence[pl.Expr], schema: pl.Schema) -> Decomposed | None:
    if not expressions:
        return None
    after = pl.LazyFrame(schema=schema).select(*expressions).collect_schema()
    return decompose(expressions, schema, after, grouped=False)
