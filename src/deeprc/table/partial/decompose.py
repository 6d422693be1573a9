"""Aggregations that can begin before the exchange: each rank's part first, then the parts.

A sum is the sum of the ranks' sums, a mean is a sum and a count, a variance is made of counts, means and sums of
squares about these; a median is nothing of the kind. Aggregates over row-wise expressions, filtered ones too, are
taken apart, and so is what is computed from several, as `x.max() - x.min()`; if any of a list is not, none is, and
whole groups travel instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from deeprc.table.partial.extremes import place_of_extreme, place_of_value, value_at_extreme
from deeprc.table.partial.moments import kurtosis, skewness
from deeprc.table.partial.spreads import correlation, covariance, mean, variance
from deeprc.table.plan.expressions import (
    Tree,
    dtype_of,
    from_tree,
    is_abridged,
    kind,
    reads_by_selector,
    rebuilt,
    row_wise,
    splits,
    tree,
)

_LIKE_PARTS = ("NullCount", "Product")  # and any, all, has_nulls: below
_WITH_HALVES = ("Bitwise", "Skew", "Kurtosis", "ArgMax", "ArgMin", "IndexOf", "MaxBy", "MinBy")


@dataclass(frozen=True)
class Decomposed:
    """Expressions for each rank's rows, and for the rows that those give."""

    partial: tuple[pl.Expr, ...]
    final: tuple[pl.Expr, ...]


class _NoHalves(Exception):
    """An aggregate does not begin on a part."""


def decompose(aggs: Sequence[pl.Expr], before: pl.Schema, after: pl.Schema, *, grouped: bool) -> Decomposed | None:
    """Take the aggregations apart, or None.

    Args:
        aggs: expressions over columns of `before`, giving columns of `after`.
        grouped: whether each part is of a group, which has rows; else a part may be empty.
    """
    partial: list[pl.Expr] = []
    final: list[pl.Expr] = []
    for index, agg in enumerate(aggs):
        node = tree(agg)
        if reads_by_selector(node) or is_abridged(node):
            return None
        name = agg.meta.output_name()
        while kind(node) == "Alias":
            node = node["Alias"][0]
        try:
            begun, ended = _taken_apart(node, f"__part{index}", before, grouped)
        except (_NoHalves, pl.exceptions.ComputeError):  # A literal NaN or infinity has no JSON to be read again.
            return None
        partial.extend(begun)
        final.append(from_tree(ended).cast(after[name]).alias(name))
    return Decomposed(tuple(partial), tuple(final))


def _taken_apart(node: Tree, part: str, schema: pl.Schema, grouped: bool) -> tuple[list[pl.Expr], Tree]:
    partial: list[pl.Expr] = []

    def ended(node: Tree) -> Tree:
        if kind(node) == "Literal" and "Series" not in node["Literal"]:
            return node
        halves = _halves(node, f"{part}_{len(partial)}", schema, grouped)
        if halves is not None:
            partial.extend(halves[0])
            return tree(halves[1].cast(dtype_of(node, schema)))
        changed = rebuilt(node, ended)
        if changed is None:
            raise _NoHalves
        return changed

    last = ended(node)
    if not partial:
        raise _NoHalves
    return partial, last


def _halves(node: Tree, part: str, schema: pl.Schema, grouped: bool) -> tuple[list[pl.Expr], pl.Expr] | None:
    if node == "Len":
        return [pl.len().alias(part)], pl.col(part).sum()
    if kind(node) == "Function" and kind(node["Function"]["function"]) == "Correlation":
        return _halves_of_pairs(node["Function"], part, schema)
    found = _aggregate(node)
    if found is None or not splits(found[1], schema):
        return None
    name, child, argument = found
    whole = from_tree(node).alias(part)
    dtype = dtype_of(child, schema)
    if name in ("Count", "NullCount"):
        return [whole], pl.col(part).sum()
    if name == "Sum" and (dtype.is_numeric() or isinstance(dtype, pl.Boolean | pl.Duration)):
        return [whole], pl.col(part).sum()
    if name in ("Min", "Max") and _is_ordered(dtype):
        return [whole], from_tree({"Agg": {name: {**argument, "input": {"Column": part}}}})
    if name in ("First", "Last"):
        return _end(name, child, part, always=grouped and row_wise(child, schema))
    if name in ("FirstNonNull", "LastNonNull"):
        return [whole], from_tree({"Agg": {name: {"Column": part}}})
    if name in ("Mean", "Std", "Var") and _is_plain_number(dtype):
        return _spread(name, from_tree(child), argument, part)
    if name in ("Product", "Boolean", "Bitwise"):
        return [whole], from_tree({"Function": {**node["Function"], "input": [{"Column": part}]}})
    if name == "HasNulls":
        return [whole], pl.col(part).any()
    if name in ("Skew", "Kurtosis") and _is_plain_number(dtype):
        return _shape(from_tree(child), argument, part)
    return _halves_of_places(name, node, part, schema)


def _spread(name: str, values: pl.Expr, argument: Any, part: str) -> tuple[list[pl.Expr], pl.Expr]:
    if name == "Mean":
        return mean(values, part)
    halves, squared = variance(values, int(argument[1]), part)
    return halves, squared.sqrt() if name == "Std" else squared


def _shape(values: pl.Expr, argument: Any, part: str) -> tuple[list[pl.Expr], pl.Expr]:
    if isinstance(argument, list):
        return kurtosis(values, part, fisher=argument[0], bias=argument[1])
    return skewness(values, part, bias=argument)


def _halves_of_places(name: str, node: Tree, part: str, schema: pl.Schema) -> tuple[list[pl.Expr], pl.Expr] | None:
    """Of what asks where a value is, or for the value at such a place."""
    if name == "IndexOf":
        return place_of_value(node, part)
    if name in ("ArgMax", "ArgMin") and _is_ordered(dtype_of(node["Function"]["input"][0], schema)):
        return place_of_extreme(node, part)
    if name in ("MaxBy", "MinBy"):
        by = node["Function"]["input"][1]
        return value_at_extreme(node, part) if splits(by, schema) and _is_ordered(dtype_of(by, schema)) else None
    return None


def _halves_of_pairs(function: Tree, part: str, schema: pl.Schema) -> tuple[list[pl.Expr], pl.Expr] | None:
    """Of a covariance, or Pearson's correlation, of two columns; a part does not know the ranks of its values."""
    method, sides = function["function"]["Correlation"]["method"], function["input"]
    left, right = (from_tree(side) for side in sides)
    for side in sides:
        numbers = row_wise(side, schema) and _is_plain_number(dtype_of(side, schema))
        if not numbers or not from_tree(side).meta.root_names():
            return None
    if method == "Pearson":
        return correlation(left, right, part)
    if isinstance(method, dict) and "Covariance" in method:
        return covariance(left, right, int(method["Covariance"]), part)
    return None


def _aggregate(node: Tree) -> tuple[str, Tree, Any] | None:
    """Name, operand and arguments of a node that may be an aggregate with halves."""
    if kind(node) == "Agg":
        name, argument = next(iter(node["Agg"].items()))
        if isinstance(argument, list):
            return name, argument[0], argument
        inside = argument["input"] if isinstance(argument, dict) and "input" in argument else argument
        return name, inside, argument
    if kind(node) != "Function":
        return None
    function = node["Function"]["function"]
    if function in _LIKE_PARTS:
        return function, node["Function"]["input"][0], None
    if isinstance(function, dict) and "Boolean" in function:
        called = function["Boolean"]
        if called == "HasNulls":
            return "HasNulls", node["Function"]["input"][0], None
        if isinstance(called, dict) and next(iter(called)) in ("Any", "All"):
            return "Boolean", node["Function"]["input"][0], None
        return None
    name = kind(function)
    argument = function[name] if isinstance(function, dict) else None
    return (name, node["Function"]["input"][0], argument) if name in _WITH_HALVES else None


def _end(name: str, child: Tree, part: str, *, always: bool) -> tuple[list[pl.Expr], pl.Expr]:
    """The first or last value: of the parts that have one, unless all do."""
    value = from_tree({"Agg": {name: child}}).alias(part)
    there = pl.col(part) if always else pl.col(part).filter(pl.col(f"{part}_len") > 0)
    return [value] if always else [value, from_tree(child).len().alias(f"{part}_len")], (
        there.first() if name == "First" else there.last()
    )


def _is_plain_number(dtype: pl.DataType) -> bool:
    return (dtype.is_numeric() and not dtype.is_decimal()) or dtype == pl.Boolean


def _is_ordered(dtype: pl.DataType) -> bool:
    """Whether all ranks put values in the same order."""
    known = pl.String | pl.Boolean | pl.Binary | pl.Categorical | pl.Enum
    return dtype.is_numeric() or dtype.is_temporal() or isinstance(dtype, known)
