"""Aggregations that can begin before the exchange: each rank's part first, then the parts.

A sum is the sum of the ranks' sums, a mean is a sum and a count; a median is nothing of the kind. Only
expressions that are one such aggregate over a row-wise expression are taken apart; if any of a list is not,
none is, and whole groups travel instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from deeprc.table.expressions import Tree, from_tree, is_abridged, is_row_wise, kind, reads_by_selector, tree


@dataclass(frozen=True)
class Decomposed:
    """Expressions for each rank's rows, and for the rows that those give."""

    partial: tuple[pl.Expr, ...]
    final: tuple[pl.Expr, ...]


def decompose(aggs: Sequence[pl.Expr], before: pl.Schema, after: pl.Schema, *, ordered: bool) -> Decomposed | None:
    """Take the aggregations apart, or None.

    Args:
        aggs: expressions over columns of `before`, giving columns of `after`.
        ordered: whether an absent value can be told from an empty part, as in a group, which has rows; only
            then do `first` and `last` decompose.
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
            halves = _halves(node, f"__part{index}", before, ordered=ordered)
        except pl.exceptions.ComputeError:  # A literal NaN or infinity has no JSON to be read again.
            return None
        if halves is None:
            return None
        partial.extend(halves[0])
        final.append(halves[1].cast(after[name]).alias(name))
    return Decomposed(tuple(partial), tuple(final))


def _halves(node: Tree, part: str, schema: pl.Schema, *, ordered: bool) -> tuple[list[pl.Expr], pl.Expr] | None:
    if node == "Len":
        return [pl.len().alias(part)], pl.col(part).sum()
    if kind(node) != "Agg":
        return None
    name, argument = next(iter(node["Agg"].items()))
    child = argument["input"] if isinstance(argument, dict) and "input" in argument else argument
    if not isinstance(child, dict | str) or not is_row_wise(from_tree(child), schema):
        return None
    dtype = _dtype(from_tree(child), schema)
    whole = from_tree(node).alias(part)
    if name == "Count":
        return [whole], pl.col(part).sum()
    if name == "Sum" and (dtype.is_numeric() or isinstance(dtype, pl.Boolean | pl.Duration)):
        return [whole], pl.col(part).sum()
    if name in ("Min", "Max") and _is_ordered(dtype):
        return [whole], from_tree({"Agg": {name: {**argument, "input": {"Column": part}}}})
    if name in ("First", "Last") and ordered:
        return [whole], from_tree({"Agg": {name: {"Column": part}}})
    if name == "Mean" and dtype.is_numeric() and not dtype.is_decimal():
        return _mean(from_tree(child), part)
    return None


def _mean(values: pl.Expr, part: str) -> tuple[list[pl.Expr], pl.Expr]:
    total, count = pl.col(f"{part}_sum").sum(), pl.col(f"{part}_count").sum()
    halves: list[Any] = [
        values.cast(pl.Float64).sum().alias(f"{part}_sum"),
        values.count().alias(f"{part}_count"),
    ]
    return halves, pl.when(count > 0).then(total / count)


def _dtype(expression: pl.Expr, schema: pl.Schema) -> pl.DataType:
    return next(iter(pl.LazyFrame(schema=schema).select(expression).collect_schema().values()))


def _is_ordered(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype.is_temporal() or isinstance(dtype, pl.String | pl.Boolean)
