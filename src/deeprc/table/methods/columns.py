"""Methods that compute, name, fill and drop columns, row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, get_args

import polars as pl

from deeprc.errors import SpecError, valid_values
from deeprc.table import plan, plan_rows
from deeprc.table.expressions import as_expressions, is_row_wise
from deeprc.table.methods.planned import Planned
from deeprc.table.schema import as_data_error

FillNullStrategy = Literal["forward", "backward", "min", "max", "mean", "zero", "one"]


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

    def fill_null(
        self,
        value: Any = None,
        strategy: FillNullStrategy | None = None,
        limit: int | None = None,
        *,
        matches_supertype: bool = True,
    ) -> Self:
        """Put a value in place of nulls, or what a strategy finds, as `polars.LazyFrame.fill_null`.

        Args:
            value: a literal, or a row-wise expression, for all columns of its type.
            strategy: in place of a value "forward", "backward" (from the row before or after, over the borders of
                parts too), "min", "max", "mean" (of the whole column), "zero" or "one".
            limit: how many nulls in a row "forward" and "backward" fill; None: all.
            matches_supertype: whether the value may change a column's type to one that holds both.

        Raises:
            SpecError: value and strategy, or neither; a limit without "forward" or "backward".
        """
        if (value is None) == (strategy is None):
            raise SpecError("fill_null takes a value or a strategy; one of them")
        if strategy is not None and strategy not in get_args(FillNullStrategy):
            known = get_args(FillNullStrategy)
            raise SpecError(f"unknown strategy={strategy!r}. {valid_values(str(strategy), known, noun='strategy')}")
        if limit is not None and strategy not in ("forward", "backward"):
            raise SpecError('fill_null takes a limit with strategy "forward" or "backward" alone')
        if strategy is not None:
            return self.with_columns(pl.all().fill_null(strategy=strategy, limit=limit))
        if isinstance(value, pl.Expr) and not is_row_wise(value, self.schema):
            raise SpecError("fill_null takes a row-wise expression; for others use with_columns")

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.fill_null(value, matches_supertype=matches_supertype)

        if isinstance(value, pl.Expr):
            return self._next("fill_null", plan_rows.EachRow(self.node, "FILL NULL", method))
        return self._each("fill_null", "FILL NULL", method)

    def map_batches(
        self, function: Callable[[pl.DataFrame], pl.DataFrame], *, schema: Mapping[str, Any] | None = None
    ) -> Self:
        """Call a function once on each rank, with all rows that the rank has then; its result takes their place.

        What a part holds depends on the operators before: after `shuffle(keys)` or `group_by`, rows of equal keys
        are together; after `sort` each part is a range of the order; after a scan it is an even share, in order.
        A function that treats each row on its own gives the same on any number of ranks, others need not.

        Args:
            function: takes and gives a `polars.DataFrame`; it may be called with no rows.
            schema: columns and types of its result; None: those of the table.

        Raises:
            DataError: when it runs: the result has other columns or types; on all ranks alike.
        """
        after = self.schema if schema is None else pl.Schema(schema)
        return self._next("map_batches", plan_rows.MapPart(self.node, function, after))

    def unpivot(
        self, on: Any = None, *, index: Any = None, variable_name: str | None = None, value_name: str | None = None
    ) -> Self:
        """Columns into rows, as `polars.LazyFrame.unpivot`. Row order is not kept."""

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.unpivot(on, index=index, variable_name=variable_name, value_name=value_name)

        return self._next("unpivot", plan_rows.EachRow(self.node, "UNPIVOT", method))

    def _each(self, operator: str, label: str, method: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Self:
        return self._next(operator, plan_rows.Each(self.node, label, method))
