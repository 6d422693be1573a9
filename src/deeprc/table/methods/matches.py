"""Joins on conditions, and joins that replace values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import polars as pl

from deeprc.errors import SpecError, valid_values
from deeprc.table.methods.columns import Columns
from deeprc.table.methods.joins import Joins, MaintainOrder
from deeprc.table.methods.planned import of_one_communicator
from deeprc.table.methods.rows import Rows
from deeprc.table.methods.sets import concat
from deeprc.table.plan.expressions import as_expressions, from_tree, kind, plain_column, reads_by_selector, tree

_OTHER, _MATCHED = "__other__", "__matched__"
_LEFT, _RIGHT = "__left__", "__right__"
_WHERE_HOWS = ("inner", "left", "right", "full")
_UPDATE_HOWS = ("left", "inner", "full")


class Matches(Columns, Joins, Rows):
    """Rows of another table that fulfil a condition, or that have newer values."""

    def join_where(
        self,
        other: Self,
        *predicates: Any,
        how: Literal["inner", "left", "right", "full"] = "inner",
        suffix: str = "_right",
    ) -> Self:
        """The pairs of rows for which all predicates hold, as `polars.LazyFrame.join_where`. No order is kept.

        Columns of the other table whose name this one has are written with the suffix. Where predicates compare a
        column of either side for equality, rows meet by the hash of these; else the smaller side goes to all ranks.

        Args:
            how: "left" keeps the rows of this table that are in no pair too, "right" the other's, "full" both's.

        Raises:
            SpecError: there are no predicates, or `how` is unknown.
        """
        if how not in _WHERE_HOWS:
            raise SpecError(f"unknown how={how!r}. {valid_values(how, _WHERE_HOWS, noun='join')}")
        other = of_one_communicator("join_where", self, other)
        if how == "inner":
            return self._pairs(other, predicates, suffix)
        left, right = self.with_row_index(_LEFT), other.with_row_index(_RIGHT)
        pairs = left._pairs(right, predicates, suffix)
        tables = [pairs]
        if how != "right":
            tables.append(left.join(pairs.select(_LEFT), on=_LEFT, how="anti"))
        if how != "left":
            alone = right.join(pairs.select(_RIGHT), on=_RIGHT, how="anti")
            tables.append(alone.rename({name: name + suffix for name in other.columns if name in self.columns}))
        return concat(tables, how="diagonal", in_order=False).select(pairs.drop(_LEFT, _RIGHT).columns)

    def _pairs(self, other: Self, predicates: Sequence[Any], suffix: str) -> Self:
        conditions = as_expressions(predicates)
        if not conditions:
            raise SpecError('join_where takes at least one predicate; for all pairs of rows use join(how="cross")')
        names = {name + suffix if name in self.columns else name: name for name in other.columns}
        parts = [part for condition in conditions for part in _conjuncts(condition)]
        equal = [pair for pair in (_equal_columns(part, self.columns, names) for part in parts) if pair is not None]
        if not equal:
            return self.join(other, how="cross", suffix=suffix).filter(*conditions)
        lefts, rights = [left for left, _ in equal], [names[right] for _, right in equal]
        pairs = self.join(other, left_on=lefts, right_on=rights, suffix=suffix, coalesce=False)
        rest = [part for part in parts if _equal_columns(part, self.columns, names) is None]
        return pairs.filter(*rest) if rest else pairs

    def update(
        self,
        other: Self,
        on: str | Sequence[str] | None = None,
        how: Literal["left", "inner", "full"] = "left",
        *,
        left_on: str | Sequence[str] | None = None,
        right_on: str | Sequence[str] | None = None,
        include_nulls: bool = False,
        maintain_order: MaintainOrder | None = "left",
    ) -> Self:
        """Values of the other table in place of this one's in rows of equal keys, as `polars.LazyFrame.update`.

        Args:
            other: its columns that this table has too are taken.
            on, left_on, right_on: the keys; without any, rows of the same number meet.
            how: "left" keeps the rows of this table, "inner" those with a match, "full" the other's too.
            include_nulls: whether the other's nulls replace values.
            maintain_order: as in `join`; "none" spares the sort that "left", as Polars has it, takes.

        Raises:
            SpecError: keys of one of the tables alone are given, or `how` is unknown.
        """
        if on is None and (left_on is None) != (right_on is None):
            raise SpecError(
                "update takes on=, or both left_on= and right_on=, or, to go by the numbers of rows, neither"
            )
        if how not in _UPDATE_HOWS:
            raise SpecError(f"unknown how={how!r}. {valid_values(how, _UPDATE_HOWS, noun='join')}")
        other = of_one_communicator("update", self, other)
        if on is None and left_on is None:
            numbered = self.with_row_index(_LEFT), other.with_row_index(_LEFT)
            options: Any = {"include_nulls": include_nulls, "maintain_order": maintain_order}
            return numbered[0].update(numbered[1], on=_LEFT, how=how, **options).drop(_LEFT)
        lefts, rights = (_listed(keys) for keys in ((left_on, right_on) if on is None else (on, on)))
        taken = [name for name in self.columns if name in other.columns and name not in rights]
        newer = other.select(*rights, *taken, pl.lit(True).alias(_MATCHED))
        keys: Any = {"left_on": lefts, "right_on": rights, "coalesce": True}
        joined = self.join(newer, how=how, suffix=_OTHER, maintain_order=maintain_order, **keys)
        values = [
            pl.when(pl.col(_MATCHED).is_null()).then(pl.col(name)).otherwise(pl.col(name + _OTHER)).alias(name)
            if include_nulls
            else pl.coalesce(name + _OTHER, name).alias(name)
            for name in taken
        ]
        return joined.with_columns(*values).select(*self.columns)


def _listed(keys: str | Sequence[str] | None) -> list[str]:
    return [keys] if isinstance(keys, str) else list(keys or ())


def _conjuncts(condition: pl.Expr) -> Iterator[pl.Expr]:
    """`a & b` as a and b."""
    node = tree(condition)
    if kind(node) == "BinaryExpr" and node["BinaryExpr"]["op"] in ("And", "LogicalAnd"):
        for side in ("left", "right"):
            yield from _conjuncts(from_tree(node["BinaryExpr"][side]))
    else:
        yield condition


def _equal_columns(condition: pl.Expr, left: Sequence[str], right: Sequence[str] | dict[str, str]) -> Any:
    """(left column, right column as the result names it), where the condition is that these are equal."""
    node = tree(condition)
    if kind(node) != "BinaryExpr" or node["BinaryExpr"]["op"] != "Eq" or reads_by_selector(node):
        return None
    sides = [plain_column(from_tree(node["BinaryExpr"][side])) for side in ("left", "right")]
    for first, second in (sides, sides[::-1]):
        if first in left and second in right and second not in left:
            return first, second
    return None
