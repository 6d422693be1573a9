"""What a predicate can be for the rows of a group of which only bounds are known: whether true, whether false.

A value is null, NaN, or lies between the group's least and largest. For each of the three a predicate of one column
and constants has outcomes of its own: of null and NaN Polars says which, of what lies between the bounds tell.
`and`, `or` and `not` combine outcomes; a predicate of no known kind may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import polars as pl

from deeprc.table.files.footers import ROWS, largest, least, nulls
from deeprc.table.optimise.predicates import conjuncts, is_readable, renamed
from deeprc.table.plan.expressions import Tree, dtype_of, from_tree, is_scalar, kind, reads_by_selector, row_wise, tree

_MIRRORED = {"Gt": "Lt", "GtEq": "LtEq", "Lt": "Gt", "LtEq": "GtEq"}
_SYMMETRIC = ("Eq", "NotEq", "EqValidity", "NotEqValidity")
# What these are of a value that is neither null nor NaN.
_OF_VALUES = {"IsNull": False, "IsNotNull": True, "IsNan": False, "IsNotNan": True}
_GROWING = ({"TemporalExpr": "Year"}, {"TemporalExpr": "Date"})
_HORIZONTAL = ({"Boolean": "AllHorizontal"}, {"Boolean": "AnyHorizontal"})
_MOST_VALUES = 256  # of a list that are each compared with the bounds


@dataclass(frozen=True)
class Outcomes:
    """Whether some row of a group may make a predicate true, and false; over the frame of `footers`."""

    true: pl.Expr
    false: pl.Expr


_NEVER, _PERHAPS = pl.lit(value=False), pl.lit(value=True)
_ANY = Outcomes(_PERHAPS, _PERHAPS)


def may_hold(predicates: Sequence[pl.Expr], schema: pl.Schema) -> tuple[pl.Expr, frozenset[str]] | None:
    """Whether a row of a group may satisfy all predicates, and the columns whose statistics tell; None if none do."""
    parts = [part for predicate in predicates for part in conjuncts(predicate)]
    reading = _Reading(schema, frozenset(name for part in parts for name in _without_nan(part, schema)))
    found = [reading.outcomes(tree(part)) for part in parts if is_readable(tree(part))]
    telling = [each.true for each in found if each is not _ANY]
    if not reading.columns:
        return None
    return reduce(lambda one, other: one & other, telling), frozenset(reading.columns)


def _without_nan(predicate: pl.Expr, schema: pl.Schema) -> list[str]:
    """The column, where the predicate is of one and of no NaN in it is true."""
    names = predicate.meta.root_names()
    node = tree(predicate)
    if len(set(names)) != 1 or not schema[names[0]].is_float() or not is_readable(node) or not row_wise(node, schema):
        return []
    return [] if _of_value(predicate, float("nan"), schema) is not False else [names[0]]


def _of_value(predicate: pl.Expr, value: Any, schema: pl.Schema) -> bool | None:
    """What the predicate is of a value of the one column that it reads; null counts as false where it may not be."""
    (name,) = set(predicate.meta.root_names())
    result = pl.DataFrame({name: [value]}, schema={name: schema[name]}).select(predicate).to_series()
    found: bool | None = result.item()
    return found


class _Reading:
    """Predicates read over the columns of a table; `columns` are those that their outcomes depend on."""

    def __init__(self, schema: pl.Schema, without_nan: frozenset[str]) -> None:
        self._schema, self._without_nan = schema, without_nan
        self.columns: set[str] = set()

    def outcomes(self, node: Tree) -> Outcomes:
        """Of a predicate, as a tree; `_ANY` itself where nothing is known."""
        name = kind(node)
        if name == "Alias":
            return self.outcomes(node["Alias"][0])
        operands = _conjoined(node)
        if operands is not None:
            every, sides = operands
            found = [self.outcomes(side) for side in sides]
            if all(each is _ANY for each in found):
                return _ANY
            return _all_of(found) if every else _not(_all_of([_not(each) for each in found]))
        if name == "Function" and node[name]["function"] == {"Boolean": "Not"}:
            inside = self.outcomes(node[name]["input"][0])
            return inside if inside is _ANY else _not(inside)
        return self._of_one_column(node)

    def _of_one_column(self, node: Tree) -> Outcomes:
        try:
            between = self._between(node)
            if between is None:
                return _ANY
            column, of_values = between
            found = self._with_null_and_nan(from_tree(node), column, of_values)
        except pl.exceptions.PolarsError:  # Also of a literal NaN or infinity, which has no JSON to be read again.
            return _ANY
        self.columns.add(column)
        return found

    def _with_null_and_nan(self, predicate: pl.Expr, column: str, of_values: Outcomes) -> Outcomes:
        count = pl.col(nulls(column))
        some, without = ((count < pl.col(ROWS)).fill_null(_PERHAPS), (count > 0).fill_null(_PERHAPS))
        true, false = (some & side.fill_null(_PERHAPS) for side in (of_values.true, of_values.false))
        of_null = _of_value(predicate, None, self._schema)
        of_nan = None
        if self._schema[column].is_float() and column not in self._without_nan:
            of_nan = _of_value(predicate, float("nan"), self._schema)
        for outcome, there in ((of_null, without), (of_nan, some)):
            true, false = (true | there, false) if outcome is True else (true, false)
            true, false = (true, false | there) if outcome is False else (true, false)
        return Outcomes(true, false)

    def _between(self, node: Tree) -> tuple[str, Outcomes] | None:
        """The column, and outcomes for its values that are neither null nor NaN; None where nothing is known."""
        if kind(node) == "Column":
            return node["Column"], _compared(*self._bounds(node, node["Column"]), "Eq", pl.lit(value=True))
        if kind(node) == "BinaryExpr":
            return self._comparison(node["BinaryExpr"])
        if kind(node) != "Function" or not isinstance(node["Function"]["function"], dict):
            return None
        function, inputs = node["Function"]["function"], node["Function"]["input"]
        family, which = next(iter(function.items()))
        return self._function(f"{family}.{kind(which)}", which, inputs)

    def _comparison(self, parts: Mapping[str, Any]) -> tuple[str, Outcomes] | None:
        left, op, right = parts["left"], parts["op"], parts["right"]
        if op not in _MIRRORED and op not in _SYMMETRIC:
            return None
        if _is_constant(left, self._schema):
            left, op, right = right, _MIRRORED.get(op, op), left
        column = self._monotone(left)
        if column is None or not _is_constant(right, self._schema):
            return None
        low, high = self._bounds(left, column)
        return column, _compared(low, high, op, from_tree(right))

    def _function(self, name: str, which: Any, inputs: Sequence[Tree]) -> tuple[str, Outcomes] | None:
        column = self._monotone(inputs[0])
        if column is None or not all(_is_constant(each, self._schema, series=True) for each in inputs[1:]):
            return None
        if kind(which) in _OF_VALUES and name.startswith("Boolean") and inputs[0] == {"Column": column}:
            outcome = pl.lit(_OF_VALUES[kind(which)])
            return column, Outcomes(outcome, ~outcome)
        low, high = self._bounds(inputs[0], column)
        if name == "Boolean.IsBetween":
            closed = which["IsBetween"]["closed"]
            first, last = (from_tree(each) for each in inputs[1:])
            above = _compared(low, high, "GtEq" if closed in ("Both", "Left") else "Gt", first)
            below = _compared(low, high, "LtEq" if closed in ("Both", "Right") else "Lt", last)
            return column, _all_of([above, below])
        if name == "Boolean.IsIn":
            return column, _among(low, high, from_tree(inputs[1]), dtype_of(inputs[0], self._schema))
        if name == "StringExpr.StartsWith":
            start = from_tree(inputs[1])
            begins = (high >= start) & ((low <= start) | low.str.starts_with(start))
            return column, Outcomes(begins, ~(low.str.starts_with(start) & high.str.starts_with(start)))
        return None

    def _monotone(self, node: Tree) -> str | None:
        """The column, where the tree is it or grows with it."""
        if kind(node) == "Column":
            return str(node["Column"])
        if kind(node) != "Function" or node["Function"]["function"] not in _GROWING:
            return None
        inside = node["Function"]["input"][0]
        dtype = self._schema[inside["Column"]] if kind(inside) == "Column" else None
        # Where clocks are set back, local dates may be too.
        naive = isinstance(dtype, pl.Date) or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None)
        return str(inside["Column"]) if naive else None

    def _bounds(self, operand: Tree, column: str) -> tuple[pl.Expr, pl.Expr]:
        """What the operand is of the least and of the largest value of the column."""
        low, high = (renamed(from_tree(operand), {column: bound}) for bound in (least(column), largest(column)))
        assert low is not None and high is not None
        return low, high


def _conjoined(node: Tree) -> tuple[bool, Sequence[Tree]] | None:
    """Whether all of some predicates have to be true, or any; and these."""
    if kind(node) == "BinaryExpr":
        parts = node["BinaryExpr"]
        if parts["op"] in ("And", "LogicalAnd", "Or", "LogicalOr"):
            return parts["op"].endswith("And"), [parts["left"], parts["right"]]
    if kind(node) == "Function" and node["Function"]["function"] in _HORIZONTAL:
        return node["Function"]["function"] == _HORIZONTAL[0], node["Function"]["input"]
    return None


def _all_of(found: Sequence[Outcomes]) -> Outcomes:
    return Outcomes(
        reduce(lambda one, other: one & other, (each.true for each in found)),
        reduce(lambda one, other: one | other, (each.false for each in found)),
    )


def _not(found: Outcomes) -> Outcomes:
    return Outcomes(found.false, found.true)


def _compared(low: pl.Expr, high: pl.Expr, op: str, value: pl.Expr) -> Outcomes:
    """Of a comparison of what lies between two bounds with a value."""
    if op == "Gt":
        return Outcomes(high > value, low <= value)
    if op == "GtEq":
        return Outcomes(high >= value, low < value)
    if op == "Lt":
        return Outcomes(low < value, high >= value)
    if op == "LtEq":
        return Outcomes(low <= value, high > value)
    equal = Outcomes((low <= value) & (high >= value), (low != value) | (high != value))
    return equal if op in ("Eq", "EqValidity") else _not(equal)


def _among(low: pl.Expr, high: pl.Expr, listed: pl.Expr, dtype: pl.DataType) -> Outcomes:
    """Of a search of what lies between two bounds in a list of constants."""
    values = pl.select(listed).to_series()
    values = (values.explode() if values.dtype.is_nested() else values).drop_nulls()
    known = values.cast(dtype).unique()
    known = known.drop_nans() if dtype.is_float() else known
    if known.is_empty():
        return Outcomes(_NEVER, _PERHAPS)
    if len(known) > _MOST_VALUES:
        return Outcomes((high >= pl.lit(known.min(), dtype)) & (low <= pl.lit(known.max(), dtype)), _PERHAPS)
    each = [_compared(low, high, "Eq", pl.lit(value, dtype)) for value in known]
    # Values that another type rounds may be in no list.
    missing = _all_of([_not(one) for one in each]).true if values.dtype == dtype else _PERHAPS
    return Outcomes(pl.any_horizontal(*(one.true for one in each)), missing)


def _is_constant(node: Tree, schema: pl.Schema, *, series: bool = False) -> bool:
    """Whether the tree has one value, whatever the rows; `series`: or many, as a literal."""
    if kind(node) == "Literal":
        return series or "Series" not in node["Literal"]
    if reads_by_selector(node) or not row_wise(node, schema):
        return False
    expression = from_tree(node)
    return not expression.meta.root_names() and is_scalar(expression)
