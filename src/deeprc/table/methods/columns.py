"""Methods that compute, name, fill and drop columns, row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import polars as pl

from deeprc.errors import SpecError
from deeprc.table import plan, plan_rows
from deeprc.table.expressions import as_expressions
from deeprc.table.methods.planned import Planned
from deeprc.table.schema import as_data_error


class Columns(Planned):
    """What a table's rows hold."""

    def filter(self, *predicates: Any, **constraints: Any) -> Self:
        """Keep the rows for which all predicates hold, as `polars.LazyFrame.filter`."""
        equal = tuple(pl.col(name) == value for name, value in constraints.items())
        return self._next("filter", plan.Filter(self.node, (*as_expressions(predicates), *equal)))

    def select(self, *exprs: Any, **named: Any) -> Self:
        """Compute columns, as `polars.LazyFrame.select`. Aggregates alone give one row, on rank 0."""
        return self._next("select", plan.Select(self.node, as_expressions(exprs, named)))

    def with_columns(self, *exprs: Any, **named: Any) -> Self:
        """Add or replace columns, as `polars.LazyFrame.with_columns`."""
        return self._next("with_columns", plan.WithColumns(self.node, as_expressions(exprs, named)))

    def rename(self, mapping: Mapping[str, str]) -> Self:
        """Rename columns: {old: new}."""
        return self._next("rename", plan.Rename(self.node, dict(mapping)))

    def drop(self, *columns: Any) -> Self:
        """Leave columns out: names or selectors."""
        return self._next("drop", plan.Drop(self.node, self._names("drop", columns)))

    def cast(self, dtypes: Any, *, strict: bool = True) -> Self:
        """Change types: one for all columns, or {column or selector: type}, as `polars.LazyFrame.cast`."""
        with as_data_error("cast", self.columns):
            after = pl.LazyFrame(schema=self.schema).cast(dtypes, strict=strict).collect_schema()
        changed = [pl.col(name).cast(kind, strict=strict) for name, kind in after.items() if kind != self.schema[name]]
        return self.with_columns(*changed) if changed else self

    def drop_nulls(self, subset: Any = None) -> Self:
        """Drop rows with a null in `subset` (None: in any column)."""
        names = self.columns if subset is None else self._names("drop_nulls", (subset,))
        return self.filter(*(pl.col(name).is_not_null() for name in names)) if names else self

    def fill_nan(self, value: Any) -> Self:
        """Put a value in place of NaN, as `polars.LazyFrame.fill_nan`; a literal, not an expression."""
        if isinstance(value, pl.Expr):
            raise SpecError("fill_nan takes a value; for expressions use with_columns")
        return self._each("fill_nan", "FILL NAN", lambda frame: frame.fill_nan(value))

    def fill_null(self, value: Any = None, *, matches_supertype: bool = True) -> Self:
        """Put a value in place of nulls, as `polars.LazyFrame.fill_null`; a literal, not an expression."""
        if value is None or isinstance(value, pl.Expr):
            raise SpecError("fill_null takes a value; for expressions and strategies use with_columns")
        return self._each(
            "fill_null", "FILL NULL", lambda frame: frame.fill_null(value, matches_supertype=matches_supertype)
        )

    def unpivot(
        self, on: Any = None, *, index: Any = None, variable_name: str | None = None, value_name: str | None = None
    ) -> Self:
        """Columns into rows, as `polars.LazyFrame.unpivot`. Row order is not kept."""

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.unpivot(on, index=index, variable_name=variable_name, value_name=value_name)

        return self._next("unpivot", plan_rows.EachRow(self.node, "UNPIVOT", method))

    def _each(self, operator: str, label: str, method: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Self:
        return self._next(operator, plan_rows.Each(self.node, label, method))
