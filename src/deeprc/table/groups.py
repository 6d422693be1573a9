"""What stands between `group_by` and `agg`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal

import polars as pl

from deeprc.table import plan
from deeprc.table.expressions import as_expressions
from deeprc.table.methods.planned import PlannedT


@dataclass(frozen=True)
class GroupBy(Generic[PlannedT]):
    """A table and the keys to group it by."""

    table: PlannedT
    keys: tuple[pl.Expr, ...]
    maintain_order: bool

    def agg(self, *exprs: Any, **named: Any) -> PlannedT:
        """Aggregate each group with any Polars expressions, exactly."""
        node = plan.GroupBy(self.table.node, self.keys, as_expressions(exprs, named), self.maintain_order)
        return self.table._next("group_by.agg", node)

    def len(self, name: str = "len") -> PlannedT:
        """The number of rows of each group."""
        return self.agg(pl.len().alias(name))


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

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            groups: Any = getattr(frame, self.operator)(self.index_column, **self.options)
            result: pl.LazyFrame = groups.agg(*expressions)
            return result

        label = f"{self.operator.replace('_', ' ').upper()} {self.index_column}"
        return self.table._next(f"{self.operator}.agg", self.table._keyed(label, self.keys, method))
