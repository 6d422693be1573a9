"""Predicates of filters: taken apart, with other names for the columns they read, and whether they can fail."""

from __future__ import annotations

import json
from collections.abc import Mapping

import polars as pl

from deeprc.table.plan.expressions import Tree, from_tree, is_abridged, kind, tree

# Functions that give a value, or null, for every value of the types they take.
_TOTAL = {
    "Boolean": None,
    "StringExpr": {"StartsWith", "EndsWith", "LenBytes", "LenChars", "Lowercase", "Uppercase"},
    "TemporalExpr": {
        "Year",
        "IsoYear",
        "Quarter",
        "Month",
        "Week",
        "WeekDay",
        "Day",
        "OrdinalDay",
        "Hour",
        "Minute",
        "Second",
        "Date",
    },
}
_TOTAL_ALONE = {"FillNull", "Abs", "Coalesce"}
_CONTAINERS = {
    "BinaryExpr": ("left", "right"),
    "Ternary": ("predicate", "truthy", "falsy"),
    "Cast": ("expr",),
}


def conjuncts(predicate: pl.Expr) -> tuple[pl.Expr, ...]:
    """Predicates that together keep the same rows: `a & b` are two. As it is where it cannot be taken apart."""
    node = tree(predicate)
    if not _is_and(node) or not is_readable(node):
        return (predicate,)
    try:
        return tuple(from_tree(part) for part in _parts(node))
    except pl.exceptions.PolarsError:  # A literal NaN or infinity has no JSON to be read again.
        return (predicate,)


def _is_and(node: Tree) -> bool:
    return kind(node) == "BinaryExpr" and node["BinaryExpr"]["op"] in ("And", "LogicalAnd")


def _parts(node: Tree) -> list[Tree]:
    if not _is_and(node):
        return [node]
    return [part for side in ("left", "right") for part in _parts(node["BinaryExpr"][side])]


def is_readable(node: Tree) -> bool:
    """Whether an expression can be made of the tree that has this meaning under other names too."""
    text = json.dumps(node)
    unfit = ('"Opaque"', '"AnonymousFunction"', '"AsStruct"', '"Selector"')
    return not is_abridged(node) and not any(word in text for word in unfit)


def renamed(predicate: pl.Expr, names: Mapping[str, str]) -> pl.Expr | None:
    """The predicate over columns of other names; None where it cannot be had."""
    if all(names.get(name, name) == name for name in predicate.meta.root_names()):
        return predicate
    node = tree(predicate)
    if not is_readable(node):
        return None
    try:
        return from_tree(_over(node, names))
    except pl.exceptions.PolarsError:
        return None


def _over(node: Tree, names: Mapping[str, str]) -> Tree:
    if isinstance(node, dict):
        if set(node) == {"Column"}:
            return {"Column": names.get(node["Column"], node["Column"])}
        return {key: child if key == "Literal" else _over(child, names) for key, child in node.items()}
    return [_over(child, names) for child in node] if isinstance(node, list) else node


def may_fail(predicate: pl.Expr) -> bool:
    """Whether it may raise an error for some values: then it must not see rows that it would not have seen."""
    return _may_fail(tree(predicate))


def _may_fail(node: Tree) -> bool:
    name = kind(node)
    if name in ("Column", "Literal"):
        return False
    if name == "Alias":
        return _may_fail(node["Alias"][0])
    if name == "Cast" and node["Cast"]["options"] == "Strict":
        return True
    if name in _CONTAINERS:
        return any(_may_fail(node[name][child]) for child in _CONTAINERS[name])
    if name == "Function":
        return not _is_total(node["Function"]["function"]) or any(map(_may_fail, node["Function"]["input"]))
    return True


def _is_total(function: Tree) -> bool:
    if isinstance(function, str):
        return function in _TOTAL_ALONE
    family, which = next(iter(function.items()))
    if family not in _TOTAL:
        return False
    total = _TOTAL[family]
    return total is None or (which if isinstance(which, str) else next(iter(which))) in total
