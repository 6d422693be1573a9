"""What stands between `group_by` and `agg`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from deeprc.errors import SpecError
from deeprc.table.methods.each_column import EachColumn
from deeprc.table.methods.planned import PlannedT
from deeprc.table.plan import nodes as plan
from deeprc.table.plan.expressions import as_expressions, is_row_wise, one_by_one
from deeprc.table.plan.row_nodes import Keyed, RowIndex
from deeprc.table.plan.window_nodes import TimeWindows

_HELD = "__held__"
_FIRST, _ROW = "__first__", "__row__"


@dataclass(frozen=True)
class GroupBy(EachColumn[PlannedT]):
    """A table and the keys to group it by."""

    table: PlannedT
    keys: tuple[pl.Expr, ...]
    maintain_order: bool
    conditions: tuple[pl.Expr, ...] = ()

    def having(self, *predicates: Any) -> GroupBy[PlannedT]:
        """Keep the groups of which all predicates hold, as `pl.len() > 3`; to be followed by `agg` and its like."""
        return replace(self, conditions=(*self.conditions, *as_expressions(predicates)))

    def agg(self, *aggs: Any, **named_aggs: Any) -> PlannedT:
        """Aggregate each group with any Polars expressions, exactly."""
        single = tuple(one for several in as_expressions(aggs, named_aggs) for one in one_by_one(several))
        node = plan.GroupBy(self.table.node, self.keys, (*single, *_held(self.conditions)), self.maintain_order)
        return _that_hold(self.table, node, "group_by.agg", self.conditions)

    def head(self, n: int = 5) -> PlannedT:
        """The first n rows of each group. Row order is kept within a group alone, unless `maintain_order`."""
        return self._rows_of_groups("HEAD", lambda groups: groups.head(n))

    def tail(self, n: int = 5) -> PlannedT:
        """The last n rows of each group. Row order is kept within a group alone, unless `maintain_order`."""
        return self._rows_of_groups("TAIL", lambda groups: groups.tail(n))

    def map_groups(self, function: Callable[[pl.DataFrame], pl.DataFrame], schema: Any) -> PlannedT:
        """Call a function with the rows of each group; its results, of the columns of `schema`, are the table."""
        if self.maintain_order:
            raise SpecError("map groups of groups keeps no order of groups: sort the result")
        return self._rows("MAP GROUPS", lambda groups: groups.map_groups(function, schema))

    def _each(self, aggregate: Callable[[pl.Expr], pl.Expr]) -> PlannedT:
        keys = {key.meta.output_name() for key in self.keys}
        return self.agg(*(aggregate(pl.col(name)) for name in self.table.schema if name not in keys))

    def _rows_of_groups(self, what: str, method: Callable[[Any], pl.LazyFrame]) -> PlannedT:
        """Rows of groups; in the order of the groups' first rows where that is asked for, by the rows' numbers."""
        if not self.maintain_order:
            return self._rows(what, method)
        number = pl.col(_ROW)
        rows = self.table._next("group_by", RowIndex(self.table.node, _ROW, 0))
        groups = GroupBy(rows, self.keys, maintain_order=False, conditions=self.conditions)
        chosen = groups._rows(what, method, number.min().over(self.keys).alias(_FIRST))
        by = (pl.col(_FIRST), number)
        ordered = plan.Sort(chosen.node, by, (False, False), (False, False))
        return chosen._next("group_by", plan.Drop(ordered, (_FIRST, _ROW)))

    def _rows(self, what: str, method: Callable[[Any], pl.LazyFrame], *added: pl.Expr) -> PlannedT:
        if self.conditions:
            raise SpecError(f"{what.lower()} of groups takes no having(); use filter with pl.len().over(keys) first")
        if not all(is_row_wise(key, self.table.schema) for key in self.keys):
            raise SpecError(f"{what.lower()} of groups takes row-wise keys: add other keys by with_columns")

        def applied(frame: pl.LazyFrame) -> pl.LazyFrame:
            return method(frame.with_columns(*added).group_by(*self.keys))

        label = f"{what} OF GROUPS"
        return self.table._next(f"group_by.{what.lower()}", Keyed(self.table.node, label, self.keys, applied))


@dataclass(frozen=True)
class Windows(EachColumn[PlannedT]):
    """A table and the windows to group it by: what `group_by_dynamic` and `rolling` return."""

    table: PlannedT
    keys: tuple[str, ...]
    operator: Literal["group_by_dynamic", "rolling"]
    index_column: str
    options: Mapping[str, Any]
    conditions: tuple[pl.Expr, ...] = ()

    def having(self, *predicates: Any) -> Windows[PlannedT]:
        """Keep the windows of which all predicates hold, as `pl.len() > 3`; to be followed by `agg` and its like."""
        return replace(self, conditions=(*self.conditions, *as_expressions(predicates)))

    def agg(self, *aggs: Any, **named_aggs: Any) -> PlannedT:
        """Aggregate each window with any Polars expressions."""
        expressions = (*as_expressions(aggs, named_aggs), *_held(self.conditions))
        node: plan.Node = TimeWindows(self.table.node, self.operator, self.index_column, self.options, expressions)
        if self.keys:
            node = self.table._keyed(node.label(), self.keys, node.apply)
        return _that_hold(self.table, node, f"{self.operator}.agg", self.conditions)

    def map_groups(self, function: Callable[[pl.DataFrame], pl.DataFrame], schema: Any) -> PlannedT:
        """Call a function with the rows of each window; its results, of the columns of `schema`, are the table.

        Where no `group_by` was given rank 0 calls it for all.
        """
        if self.conditions:
            raise SpecError("map_groups of windows takes no having(): let the function give no rows")

        def applied(frame: pl.LazyFrame) -> pl.LazyFrame:
            groups: Any = getattr(frame, self.operator)(self.index_column, **self.options)
            mapped: pl.LazyFrame = groups.map_groups(function, schema)
            return mapped

        label = f"MAP GROUPS OF {self.operator.upper()}"
        return self.table._next(f"{self.operator}.map_groups", self.table._keyed(label, self.keys, applied))

    def _each(self, aggregate: Callable[[pl.Expr], pl.Expr]) -> PlannedT:
        return self.agg(aggregate(pl.all()))


def _held(conditions: tuple[pl.Expr, ...]) -> tuple[pl.Expr, ...]:
    """Whether all of the conditions hold, as one more aggregate."""
    return (pl.all_horizontal(*conditions).alias(_HELD),) if conditions else ()


def _that_hold(table: PlannedT, groups: plan.Node, operator: str, conditions: tuple[pl.Expr, ...]) -> PlannedT:
    if not conditions:
        return table._next(operator, groups)
    kept = table._next(operator, plan.Filter(groups, (pl.col(_HELD),)))
    return kept._next(operator, plan.Drop(kept.node, (_HELD,)))
