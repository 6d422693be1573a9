"""Aggregates that say where a value is, in two halves: the places within each part, moved by the parts before."""

from __future__ import annotations

import polars as pl

from deeprc.table.plan.expressions import Tree, from_tree, kind

Halves = tuple[list[pl.Expr], pl.Expr]


def place_of_extreme(node: Tree, part: str) -> Halves:
    """Halves of `arg_max` and `arg_min`: of equal values the first, where Polars' engines take any."""
    inside = node["Function"]
    values, largest = from_tree(inside["input"][0]), inside["function"] == "ArgMax"
    at = _is_extreme(values, largest=largest).arg_true().first()
    halves = [*_places(at, values, part), _extreme(values, largest=largest).alias(f"{part}_value")]
    return halves, _place(part).filter(_is_extreme(pl.col(f"{part}_value"), largest=largest)).first()


def place_of_value(node: Tree, part: str) -> Halves | None:
    """Halves of `index_of` a literal."""
    if kind(node["Function"]["input"][1]) != "Literal":
        return None
    return _places(from_tree(node), from_tree(node["Function"]["input"][0]), part), _place(part).min()


def value_at_extreme(node: Tree, part: str) -> Halves:
    """Halves of `max_by` and `min_by`: of equal ones the first."""
    inside = node["Function"]
    values, by = (from_tree(child) for child in inside["input"])
    largest = inside["function"] == "MaxBy"
    first = values.filter(_is_extreme(by, largest=largest)).first()
    halves = [first.alias(f"{part}_value"), _extreme(by, largest=largest).alias(f"{part}_by")]
    return halves, pl.col(f"{part}_value").filter(_is_extreme(pl.col(f"{part}_by"), largest=largest)).first()


def _extreme(values: pl.Expr, *, largest: bool) -> pl.Expr:
    return values.max() if largest else values.min()


def _is_extreme(values: pl.Expr, *, largest: bool) -> pl.Expr:
    return values == _extreme(values, largest=largest)


def _places(at: pl.Expr, values: pl.Expr, part: str) -> list[pl.Expr]:
    return [at.cast(pl.Int64).alias(f"{part}_at"), values.len().cast(pl.Int64).alias(f"{part}_len")]


def _place(part: str) -> pl.Expr:
    length = pl.col(f"{part}_len")
    return length.cum_sum() - length + pl.col(f"{part}_at")
