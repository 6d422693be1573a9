"""Expressions in simpler ones' words: what has no exchange of its own is written as what has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from deeprc.table.expressions import Tree, dtype_of, from_tree, kind, rebuilt, tree


def spelled_out(node: Tree, schema: pl.Schema) -> Tree:
    """The tree with correlations and covariances as sums of products of deviations."""
    if kind(node) == "Function" and kind(node["Function"]["function"]) == "Correlation":
        method = node["Function"]["function"]["Correlation"]["method"]
        sides = node["Function"]["input"]
        if all(_is_plain_number(dtype_of(side, schema)) for side in sides):
            dtype = dtype_of(node, schema)
            first, second = (from_tree(side).cast(pl.Float64) for side in sides)
            if method == "Pearson":
                return tree(_correlation(first, second).cast(dtype))
            if isinstance(method, dict) and "Covariance" in method:
                return tree(_covariance(first, second, int(method["Covariance"])).cast(dtype))
        return node
    changed = rebuilt(node, lambda child: spelled_out(child, schema))
    return node if changed is None else changed


def _deviations(first: pl.Expr, second: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Of the rows where neither is null."""
    both = first.is_not_null() & second.is_not_null()
    left, right = pl.when(both).then(first), pl.when(both).then(second)
    return left - left.mean(), right - right.mean()


def _correlation(first: pl.Expr, second: pl.Expr) -> pl.Expr:
    left, right = _deviations(first, second)
    together = (left * right).sum() / ((left * left).sum() * (right * right).sum()).sqrt()
    return pl.when((left * right).count() > 0).then(together)


def _covariance(first: pl.Expr, second: pl.Expr, ddof: int) -> pl.Expr:
    left, right = _deviations(first, second)
    count = (left * right).count()
    return pl.when(count > ddof).then((left * right).sum() / (count - ddof))


def on_operand(aggregate: Mapping[str, Any], change: Callable[[Tree], Tree]) -> dict[str, Any]:
    """The aggregate, as in {"Sum": operand}, with its operand changed."""
    name, argument = next(iter(aggregate.items()))
    if isinstance(argument, list):
        return {name: [change(argument[0]), *argument[1:]]}
    if isinstance(argument, dict) and "input" in argument:
        return {name: {**argument, "input": change(argument["input"])}}
    return {name: change(argument)}


def _is_plain_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() and not dtype.is_decimal()
