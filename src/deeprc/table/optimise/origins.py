"""Which columns of a result are columns of an input, value for value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from deeprc.table.plan.expressions import kind, plain_column, tree
from deeprc.table.plan.nodes import Drop, Join, Rename, Select, WithColumns

# By name in the result, the name in the input.
Columns = Mapping[str, str]


def aliased_column(expression: pl.Expr) -> str | None:
    """The name of the column, where the expression is one, perhaps by another name."""
    name = plain_column(expression)
    if name is not None or not expression.meta.root_names():
        return name
    node = tree(expression)
    while kind(node) == "Alias":
        node = node["Alias"][0]
    return str(node["Column"]) if kind(node) == "Column" else None


def columns_of(expressions: Iterable[pl.Expr]) -> Columns:
    """Those of the expressions that are columns."""
    found = {}
    for expression in expressions:
        name = aliased_column(expression)
        if name is not None:
            found[expression.meta.output_name()] = name
    return found


def through_step(step: Select | WithColumns | Rename | Drop) -> Columns:
    """Of a step that treats each row for itself."""
    names = step.input.schema.names()
    if isinstance(step, Drop):
        return {name: name for name in names if name not in step.names}
    if isinstance(step, Rename):
        return {step.mapping.get(name, name): name for name in names}
    empty = pl.LazyFrame(schema=step.input.schema)
    written = set(empty.select(*step.exprs).collect_schema()) if step.exprs else set()
    taken = {**_selected(step.exprs, empty), **columns_of(step.exprs)}
    kept = {name: name for name in names if name not in written} if isinstance(step, WithColumns) else {}
    return {**kept, **taken}


def _selected(expressions: Iterable[pl.Expr], empty: pl.LazyFrame) -> Columns:
    """The columns of selectors alone, as `pl.all()`."""
    selectors = [each for each in expressions if each.meta.is_column_selection() and not each.meta.is_column()]
    return {name: name for name in empty.select(*selectors).collect_schema()} if selectors else {}


@dataclass(frozen=True)
class JoinColumns:
    """The columns of a join's result that are the left side's, and the right side's; and names of keys that are one
    column of both. `right_of` and `left_of` give a key of the other side for one whose values are exactly the same."""

    left: Columns
    right: Columns
    both: frozenset[str]
    right_of: Columns
    left_of: Columns


def join_columns(node: Join) -> JoinColumns | None:
    """None where the names are not as expected."""
    pairs = [(plain_column(left), plain_column(right)) for left, right in zip(node.left_on, node.right_on, strict=True)]
    plain = [(left, right) for left, right in pairs if left is not None and right is not None]
    one = bool(pairs) and len(plain) == len(pairs) and _coalesces(node)
    left_names, right_names = node.left.schema.names(), node.right.schema.names()
    if node.how in ("semi", "anti"):
        right_names = []
    elif one and node.how == "right":
        left_names = [name for name in left_names if name not in {left for left, _ in plain}]
    elif one:
        right_names = [name for name in right_names if name not in {right for _, right in plain}]
    left = {name: name for name in left_names}
    right = {(name + node.suffix if name in left else name): name for name in right_names}
    if [*left, *right] != node.schema.names():
        return None
    both = frozenset(left for left, _ in plain) if one and node.how == "full" else frozenset[str]()
    exact = [(left, right) for left, right in plain if joins_exactly(node.left.schema[left], node.right.schema[right])]
    return JoinColumns(left, right, both, dict(exact), {right: left for left, right in exact})


def _coalesces(node: Join) -> bool:
    return node.how != "cross" and node.coalesce is not False and (node.how != "full" or node.coalesce is True)


def joins_exactly(left: pl.DataType, right: pl.DataType) -> bool:
    """Whether keys that match are the same value: 0.0 matches -0.0, and an integer one of another size."""
    exact = left.is_integer() or left.is_temporal() or left.is_decimal() or left in (pl.String, pl.Boolean, pl.Binary)
    return left == right and exact
