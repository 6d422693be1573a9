"""How aggregates, and expressions that look at other rows, are computed: which on each rank first, which in one place.

What runs decides by the same functions (`partial/decompose.py`, `operators/aggregate.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

import polars as pl

from deeprc.table.operators.aggregate import Way, taken_apart, way_of
from deeprc.table.partial.decompose import decompose
from deeprc.table.plan.expressions import (
    Tree,
    from_tree,
    is_abridged,
    kind,
    reads_by_selector,
    root_columns,
    row_wise,
    tree,
)
from deeprc.table.plan.lowering import lowered
from deeprc.table.plan.nodes import GroupBy, Node, Select, Step, WithColumns
from deeprc.table.plan.window_nodes import Around

_MOVING: dict[Way, str] = {
    "parts": "one row of aggregates a rank to rank 0: {}",
    "hash": "distinct values by their hash: {}",
    "table": "rows of a column, by a table's own operators: {}",
    "rank 0": "columns read to rank 0: {}",
}


def of_groups(node: GroupBy) -> list[str]:
    """What of a group-by's aggregates begins on each rank, and what needs whole groups, why."""
    schema = node.input.schema
    begun, whole = _parted(node.aggs, lambda agg: _begins(agg, schema))
    if not whole:
        return [f"can begin on each rank: {_listed(begun)}"] if begun else []
    reasons = [f"needs whole groups: {agg}, since {_why_not_begun(agg, schema)}" for agg in whole]
    return [*reasons, *([f"goes with it: {_listed(begun)}"] if begun else [])]


def of_whole_table(exprs: Sequence[pl.Expr], node: Node) -> tuple[list[str], list[str]]:
    """Of aggregates of all rows of a node: what moves, one line an exchange; and what more there is to say."""
    schema = node.schema
    apart = taken_apart(Select(node, tuple(exprs)))
    ways: dict[Way, list[pl.Expr]] = {}
    for leaf in apart.leaves.values():
        ways.setdefault(way_of(leaf, schema), []).append(from_tree(leaf))
    if not apart.leaves:
        ways = {"rank 0": list(exprs)}
    moves = [f"exchange: {text.format(_listed(ways[way]))}" for way, text in _MOVING.items() if way in ways]
    remarks = [f"found by counting on all ranks, no value moves: {_listed(ways['counts'])}"] if "counts" in ways else []
    on_one_rank = ways.get("rank 0", [])
    remarks += [f"on rank 0: {each}, since {_why_on_one_rank(each, schema)}" for each in on_one_rank]
    return moves, remarks


def of_step(step: Step, exprs: Iterable[pl.Expr]) -> list[str]:
    """Why these expressions are computed on rank 0."""
    return [f"on rank 0: {each}, since {_why_in_step(each, step)}" for each in exprs]


def of_keys(keys: Sequence[pl.Expr], schema: pl.Schema) -> list[str]:
    """Why keys do not tell the rank of a row."""
    if not root_columns(keys, schema):
        return [f"on rank 0: keys [{_listed(keys)}] read no column"]
    around = [key for key in keys if not row_wise(tree(key), schema) or reads_by_selector(tree(key))]
    return [f"on rank 0: key {key}, since {_why_on_one_rank(key, schema)}" for key in around]


def _why_in_step(expression: pl.Expr, step: Step) -> str:
    if len(step.expressions) > 1 and _unreadable(tree(expression)) is None:
        alone = lowered(WithColumns(step.input, (expression.alias("__alone__"),)))
        if not any(_on_one_rank(each) for each in _down_to(alone, step.input)):
            return "another expression of its operator has to be; in an operator of its own it would not"
    return _why_on_one_rank(expression, step.input.schema)


def _on_one_rank(node: Node) -> bool:
    return type(node) is Around or (isinstance(node, Step) and not isinstance(node, Around) and bool(node.looks_around))


def _down_to(node: Node, last: Node) -> Iterator[Node]:
    """The nodes above another."""
    if node is not last:
        yield node
        for below in node.inputs:
            yield from _down_to(below, last)


def _begins(agg: pl.Expr, schema: pl.Schema) -> bool:
    name = agg.meta.output_name(raise_if_undetermined=False)
    if name is None or reads_by_selector(tree(agg)):
        return False
    after = pl.LazyFrame(schema=schema).group_by(1).agg(agg).collect_schema()
    return decompose([agg], schema, pl.Schema({name: after[name]}), grouped=True) is not None


def _why_not_begun(agg: pl.Expr, schema: pl.Schema) -> str:
    unreadable = _unreadable(tree(agg))
    return unreadable or "what it is of parts of a group does not tell what it is of the group"


def _why_on_one_rank(expression: pl.Expr, schema: pl.Schema) -> str:
    node = tree(expression)
    return _unreadable(node) or f"{_innermost(node, schema)} has no way on several ranks"


def _unreadable(node: Tree) -> str | None:
    text = json.dumps(node)
    if '"Opaque"' in text or '"AnonymousFunction"' in text or "python_udf" in text:
        return "a Python function may look at any row"
    if reads_by_selector(node):
        return "which columns it reads is told by a pattern or a type"
    return "it holds a long literal" if is_abridged(node) else None


def _innermost(node: Tree, schema: pl.Schema) -> str:
    """The name of the innermost call that looks at other rows."""
    for child in _children(node):
        if not row_wise(child, schema) and kind(child) != "Literal":
            return _innermost(child, schema)
    name = kind(node)
    if name == "Function":
        return kind(node["Function"]["function"])
    return kind(node["Agg"]) if name == "Agg" else name


def _children(node: Tree) -> list[Tree]:
    """What an expression is computed from, as far as its kind is known."""
    if not isinstance(node, dict):
        return []
    name, inside = next(iter(node.items()))
    if name == "Agg":
        inside = next(iter(inside.values()))
        return [inside] if isinstance(inside, dict) and "input" not in inside else _children({"": inside})
    if name in ("Alias", "KeepName") or isinstance(inside, list):
        return [inside[0] if isinstance(inside, list) else inside]
    if not isinstance(inside, dict):
        return []
    parts = [
        inside[part] for part in ("input", "expr", "left", "right", "predicate", "truthy", "falsy") if part in inside
    ]
    return [each for part in parts for each in (part if isinstance(part, list) else [part]) if isinstance(each, dict)]


def _parted(items: Iterable[pl.Expr], holds: Callable[[pl.Expr], bool]) -> tuple[list[pl.Expr], list[pl.Expr]]:
    held = [(item, holds(item)) for item in items]
    return [item for item, does in held if does], [item for item, does in held if not does]


def _listed(items: Iterable[pl.Expr]) -> str:
    return ", ".join(map(str, items))
