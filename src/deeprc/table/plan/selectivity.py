"""Which part of the rows a filter keeps, and how many rows a join gives: from bounds, nulls and distinct values.

| condition | part |
|---|---|
| column with a constant, `is_between` | how much of the way between the column's bounds it covers |
| equal to a constant, `is_in` | one of the distinct values for each constant; none outside the bounds |
| null, not null | as counted |
| and, or, not | as if they were independent |
| others | a third; all where it looks for NaN to leave out |

Source: Selinger et al., Access path selection in a relational database management system, SIGMOD 1979.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from deeprc.table.files.statistics import Bounds, Estimate, position
from deeprc.table.plan.expressions import Tree, from_tree, kind, plain_column, tree

KEPT = 1 / 3
_ABOVE, _BELOW = ("Gt", "GtEq"), ("Lt", "LtEq")
_MIRRORED = {"Gt": "Lt", "GtEq": "LtEq", "Lt": "Gt", "LtEq": "GtEq"}
_OF_NAN = {"IsNotNan": 1.0, "IsFinite": 1.0, "IsNan": 0.0, "IsInfinite": 0.0}


def kept_by(predicate: pl.Expr, known: Estimate) -> float:
    """The part of rows, 0 to 1, for which it is true."""
    try:
        return min(1.0, max(0.0, _part(tree(predicate), known)))
    except pl.exceptions.PolarsError:  # A literal NaN or infinity has no JSON to be read again.
        return KEPT


def matches(keys: Sequence[tuple[pl.Expr, pl.Expr]], left: Estimate, right: Estimate) -> float | None:
    """How many pairs of rows have equal keys, if the keys of the side with fewer are all among the other's."""
    found = [
        _distinct(sides, side) for side, sides in ((left, [one for one, _ in keys]), (right, [two for _, two in keys]))
    ]
    if found[0] is None or found[1] is None:
        return None
    return left.rows * right.rows / max(1.0, *(each for each in found if each is not None))


def matched_part(keys: Sequence[tuple[pl.Expr, pl.Expr]], left: Estimate, right: Estimate) -> float | None:
    """The part of the left rows that have a match."""
    here, there = _distinct([one for one, _ in keys], left), _distinct([two for _, two in keys], right)
    return None if here is None or there is None else min(1.0, there / max(1.0, here))


def _distinct(keys: Sequence[pl.Expr], known: Estimate) -> float | None:
    count = 1.0
    for key in keys:
        name = plain_column(key)
        if name is None or name not in known.distinct:
            return None
        count *= max(1.0, known.distinct[name])
    return min(count, max(1.0, known.rows))


def _part(node: Tree, known: Estimate) -> float:
    name = kind(node)
    if name == "Alias":
        return _part(node["Alias"][0], known)
    if name == "Function":
        return _of_function(node["Function"]["function"], node["Function"]["input"], known)
    if name != "BinaryExpr":
        return KEPT
    left, op, right = (node["BinaryExpr"][part] for part in ("left", "op", "right"))
    if op in ("And", "LogicalAnd"):
        return _part(left, known) * _part(right, known)
    if op in ("Or", "LogicalOr"):
        one, other = _part(left, known), _part(right, known)
        return one + other - one * other
    if kind(left) == "Literal":
        left, op, right = right, _MIRRORED.get(op, op), left
    if kind(left) != "Column" or from_tree(right).meta.root_names():
        return KEPT
    return _compared(left["Column"], op, right, known)


def _of_function(function: Tree, inputs: Sequence[Tree], known: Estimate) -> float:
    which = function["Boolean"] if isinstance(function, dict) and "Boolean" in function else None
    if which == "Not":
        return 1.0 - _part(inputs[0], known)
    if isinstance(which, str) and which in _OF_NAN:
        return _OF_NAN[which]
    if which is None or kind(inputs[0]) != "Column":
        return KEPT
    column = inputs[0]["Column"]
    bounds = known.bounds.get(column)
    if which in ("IsNull", "IsNotNull"):
        nulls = None if bounds is None else bounds.nulls
        if nulls is None:
            return KEPT if which == "IsNull" else 1.0
        return nulls if which == "IsNull" else 1.0 - nulls
    if kind(which) == "IsBetween":
        above, below = (
            _compared(column, op, value, known) for op, value in zip(("GtEq", "LtEq"), inputs[1:], strict=True)
        )
        return above + below - _there(bounds) if bounds is not None else KEPT * KEPT
    if kind(which) == "IsIn":
        values = pl.select(from_tree(inputs[1])).to_series()
        count = len((values.explode() if values.dtype.is_nested() else values).drop_nulls().unique())
        return min(1.0, count / known.distinct[column]) * _there(bounds) if known.distinct.get(column) else KEPT
    return KEPT


def _compared(column: str, op: str, constant: Tree, known: Estimate) -> float:
    bounds, distinct = known.bounds.get(column), known.distinct.get(column)
    place = position(pl.select(from_tree(constant)).to_series(), None if bounds is None else bounds.dtype)
    outside = bounds is not None and place is not None and not bounds.least <= place <= bounds.largest
    if op in ("Eq", "EqValidity", "NotEq", "NotEqValidity"):
        equal = 0.0 if outside else _there(bounds) / max(1.0, distinct) if distinct else KEPT
        return equal if op.startswith("Eq") else _there(bounds) - equal
    if bounds is None or place is None or op not in (*_ABOVE, *_BELOW):
        return KEPT
    span = bounds.largest - bounds.least
    if span <= 0:
        at_least = op in ("GtEq", "LtEq") and place == bounds.least
        return _there(bounds) * (at_least or (bounds.least > place if op in _ABOVE else bounds.least < place))
    below = min(1.0, max(0.0, (place - bounds.least) / span))
    return _there(bounds) * (1.0 - below if op in _ABOVE else below)


def _there(bounds: Bounds | None) -> float:
    """The part of rows that are not null."""
    return 1.0 - (bounds.nulls or 0.0) if bounds is not None else 1.0
