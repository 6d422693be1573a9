"""What stands between `group_by` and `agg`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal

import polars as pl
from polars._typing import QuantileMethod

from deeprc.errors import SpecError
from deeprc.table.methods.planned import PlannedT
from deeprc.table.plan import nodes as plan
from deeprc.table.plan.expressions import as_expressions, is_row_wise, one_by_one
from deeprc.table.plan.row_nodes import Keyed
from deeprc.table.plan.window_nodes import TimeWindows

_HELD = "__held__"


@dataclass(frozen=True)
class GroupBy(Generic[PlannedT]):
    """A table and the keys to group it by."""

    table: PlannedT
    keys: tuple[pl.Expr, ...]
    maintain_order: bool
    conditions: tuple[pl.Expr, ...] = ()

    def having(self, *predicates: Any) -> GroupBy[PlannedT]:
        """Keep the groups of which all predicates hold, as `pl.len() > 3`; to be followed by `agg` and its like."""
        return replace(self, conditions=(*self.conditions, *as_expressions(predicates)))

    def agg(self, *exprs: Any, **named: Any) -> PlannedT:
        """Aggregate each group with any Polars expressions, exactly."""
        single = tuple(one for several in as_expressions(exprs, named) for one in one_by_one(several))
        if not self.conditions:
            return self.table._next(
                "group_by.agg", plan.GroupBy(self.table.node, self.keys, single, self.maintain_order)
            )
        held = pl.all_horizontal(*self.conditions).alias(_HELD)
        groups = plan.GroupBy(self.table.node, self.keys, (*single, held), self.maintain_order)
        kept = self.table._next("group_by.having", plan.Filter(groups, (pl.col(_HELD),)))
        return kept._next("group_by.agg", plan.Drop(kept.node, (_HELD,)))

    def len(self, name: str = "len") -> PlannedT:
        """The number of rows of each group."""
        return self.agg(pl.len().alias(name))

    def all(self) -> PlannedT:
        """All values of each other column, as lists."""
        return self._each(lambda column: column)

    def first(self) -> PlannedT:
        """The first value of each other column."""
        return self._each(pl.Expr.first)

    def last(self) -> PlannedT:
        """The last value of each other column."""
        return self._each(pl.Expr.last)

    def sum(self) -> PlannedT:
        """The sum of each other column."""
        return self._each(pl.Expr.sum)

    def mean(self) -> PlannedT:
        """The mean of each other column."""
        return self._each(pl.Expr.mean)

    def min(self) -> PlannedT:
        """The smallest value of each other column."""
        return self._each(pl.Expr.min)

    def max(self) -> PlannedT:
        """The largest value of each other column."""
        return self._each(pl.Expr.max)

    def median(self) -> PlannedT:
        """The median of each other column."""
        return self._each(pl.Expr.median)

    def n_unique(self) -> PlannedT:
        """How many different values each other column has."""
        return self._each(pl.Expr.n_unique)

    def quantile(self, quantile: float, interpolation: QuantileMethod = "nearest") -> PlannedT:
        """The quantile, in 0..1, of each other column."""
        return self._each(lambda column: column.quantile(quantile, interpolation))

    def head(self, n: int = 5) -> PlannedT:
        """The first n rows of each group. Row order is kept within a group alone."""
        return self._rows("HEAD", lambda groups: groups.head(n))

    def tail(self, n: int = 5) -> PlannedT:
        """The last n rows of each group. Row order is kept within a group alone."""
        return self._rows("TAIL", lambda groups: groups.tail(n))

    def map_groups(self, function: Callable[[pl.DataFrame], pl.DataFrame], schema: Any) -> PlannedT:
        """Call a function with the rows of each group; its results, of the columns of `schema`, are the table."""
        return self._rows("MAP GROUPS", lambda groups: groups.map_groups(function, schema))

    def _each(self, aggregate: Callable[[pl.Expr], pl.Expr]) -> PlannedT:
        keys = {key.meta.output_name() for key in self.keys}
        return self.agg(*(aggregate(pl.col(name)) for name in self.table.schema if name not in keys))

    def _rows(self, what: str, method: Callable[[Any], pl.LazyFrame]) -> PlannedT:
        if self.conditions:
            raise SpecError(f"{what.lower()} of groups takes no having(); use filter with pl.len().over(keys) first")
        if self.maintain_order or not all(is_row_wise(key, self.table.schema) for key in self.keys):
            raise SpecError(
                f"{what.lower()} of groups takes row-wise keys, and keeps no order of groups: add other keys by "
                "with_columns, and sort the result"
            )

        def applied(frame: pl.LazyFrame) -> pl.LazyFrame:
            return method(frame.group_by(*self.keys, maintain_order=self.maintain_order))

        label = f"{what} OF GROUPS"
        return self.table._next(f"group_by.{what.lower()}", Keyed(self.table.node, label, self.keys, applied))


@dataclass(frozen=True)
class Windows(Generic[PlannedT]):
    """A table and the windows to group it by: what `group_by_dynamic` and `rolling` return."""

    table: PlannedT
    keys: tuple[str, ...]
    operator: Literal["group_by_dynamic", "rolling"]
    index_column: str
    options: Mapping[str, Any]

    def agg(self, *exprs: Any, **named: Any) -> PlannedT:
        """Aggregate each window with any Polars expressions."""
        expressions = as_expressions(exprs, named)

        node = TimeWindows(self.table.node, self.operator, self.index_column, self.options, expressions)
        if not self.keys:
            return self.table._next(f"{self.operator}.agg", node)
        return self.table._next(f"{self.operator}.agg", self.table._keyed(node.label(), self.keys, node.apply))
