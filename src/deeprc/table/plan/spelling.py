"""Expressions in simpler ones' words: what has no exchange of its own is written as what has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from deeprc.table.plan.expressions import Tree, dtype_of, from_tree, kind, rebuilt, tree


def spelled_out(node: Tree, schema: pl.Schema) -> Tree:
    """The tree with correlations, covariances and entropies as sums over rows."""
    if kind(node) == "Function" and kind(node["Function"]["function"]) == "Entropy":
        values = node["Function"]["input"][0]
        if not _is_plain_number(dtype_of(values, schema)):
            return node
        entropy = _entropy(from_tree(values), node["Function"]["function"]["Entropy"])
        return tree(entropy.cast(dtype_of(node, schema)))
    if kind(node) == "Function" and kind(node["Function"]["function"]) == "Correlation":
        method = node["Function"]["function"]["Correlation"]["method"]
        sides = node["Function"]["input"]
        if all(_is_plain_number(dtype_of(side, schema)) for side in sides):
            dtype = dtype_of(node, schema)
            first, second = (from_tree(side).cast(pl.Float64) for side in sides)
            if method == "Pearson":
                together = pl.when((first * second).count() > 0).then(_correlation(first, second))
                return tree(together.cast(dtype))
            if isinstance(method, dict) and "Covariance" in method:
                return tree(_covariance(first, second, int(method["Covariance"])).cast(dtype))
            if isinstance(method, dict) and method.get("SpearmanRank") is False:
                return tree(_correlation(*(side.rank() for side in _paired(first, second))).cast(dtype))
        return node
    changed = rebuilt(node, lambda child: spelled_out(child, schema))
    return node if changed is None else changed


def _deviations(first: pl.Expr, second: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    left, right = _paired(first, second)
    return left - left.mean(), right - right.mean()


def _paired(first: pl.Expr, second: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The values of rows where neither is null."""
    both = first.is_not_null() & second.is_not_null()
    return pl.when(both).then(first), pl.when(both).then(second)


def _entropy(values: pl.Expr, options: Mapping[str, Any]) -> pl.Expr:
    """Of parts p = x / s of the sum s: -sum(p log p) = log s - sum(x log x) / s."""
    numbers, base = values.cast(pl.Float64), options["base"]
    logs, total = (numbers * numbers.log(base)).sum(), numbers.sum()
    return total.log(base) - logs / total if options["normalize"] else -logs


def _correlation(first: pl.Expr, second: pl.Expr) -> pl.Expr:
    """Not a number where there are no pairs of values."""
    left, right = _deviations(first, second)
    return (left * right).sum() / ((left * left).sum() * (right * right).sum()).sqrt()


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
