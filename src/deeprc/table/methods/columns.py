"""Methods that compute, name, fill and drop columns, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self, get_args

import numpy as np
import polars as pl
from polars import selectors as cs

from deeprc.errors import SpecError, valid_values
from deeprc.table.methods.planned import Planned
from deeprc.table.plan import nodes as plan
from deeprc.table.plan import row_nodes
from deeprc.table.plan.expressions import as_expressions, is_row_wise
from deeprc.table.schema import as_data_error

FillNullStrategy = Literal["forward", "backward", "min", "max", "mean", "zero", "one"]


class Columns(Planned):
    """What a table's rows hold."""

    def filter(self, *predicates: Any, **constraints: Any) -> Self:
        """Keep the rows for which all predicates hold, as `polars.LazyFrame.filter`.

        A list, array or Series of booleans is a mask: a value for each row of the whole table.
        """
        equal = tuple(pl.col(name) == value for name, value in constraints.items())
        return self._next("filter", plan.Filter(self.node, (*_conditions(predicates), *equal)))

    def remove(self, *predicates: Any, **constraints: Any) -> Self:
        """Leave out the rows for which all predicates hold, as `polars.LazyFrame.remove`."""
        equal = tuple(pl.col(name) == value for name, value in constraints.items())
        gone = (*_conditions(predicates), *equal)
        return self.filter(~pl.all_horizontal(*gone).fill_null(False)) if gone else self

    def select(self, *exprs: Any, **named_exprs: Any) -> Self:
        """Compute columns, as `polars.LazyFrame.select`. Aggregates alone give one row, on rank 0."""
        return self._next("select", plan.Select(self.node, as_expressions(exprs, named_exprs)))

    def with_columns(self, *exprs: Any, **named_exprs: Any) -> Self:
        """Add or replace columns, as `polars.LazyFrame.with_columns`."""
        return self._next("with_columns", plan.WithColumns(self.node, as_expressions(exprs, named_exprs)))

    def select_seq(self, *exprs: Any, **named_exprs: Any) -> Self:
        """As `select`: what runs side by side is not for the caller to say."""
        return self.select(*exprs, **named_exprs)

    def with_columns_seq(self, *exprs: Any, **named_exprs: Any) -> Self:
        """As `with_columns`."""
        return self.with_columns(*exprs, **named_exprs)

    def rename(self, mapping: Mapping[str, str] | Callable[[str], str], *, strict: bool = True) -> Self:
        """Rename columns: {old: new}, or a function of names; `strict`: all the old ones have to be there."""
        names = {name: mapping(name) for name in self.columns} if callable(mapping) else dict(mapping)
        if not strict:
            names = {old: new for old, new in names.items() if old in self.columns}
        return self._next("rename", plan.Rename(self.node, names))

    def drop(self, *columns: Any, strict: bool = True) -> Self:
        """Leave columns out: names or selectors; `strict`: names have to be there."""
        flat = [each for given in columns for each in (given if isinstance(given, list | tuple) else [given])]
        kept = [each for each in flat if strict or not isinstance(each, str) or each in self.columns]
        return self._next("drop", plan.Drop(self.node, self._names("drop", tuple(kept)) if kept else ()))

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

    def drop_nans(self, subset: Any = None) -> Self:
        """Drop rows with a NaN in `subset` (None: in any column)."""
        names = self.columns if subset is None else self._names("drop_nans", (subset,))
        floats = [name for name in names if self.schema[name].is_float()]
        return self.filter(*(pl.col(name).is_not_nan().fill_null(True) for name in floats)) if floats else self

    def fill_nan(self, value: Any) -> Self:
        """Put a value, or an expression's, in place of NaN, as `polars.LazyFrame.fill_nan`."""
        if isinstance(value, pl.Expr):
            return self.with_columns(cs.float().fill_nan(value)) if any(map(_is_float, self.dtypes)) else self
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
            value: a literal, for all columns of its type, or an expression, for all columns.
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
            return self.with_columns(pl.all().fill_null(value))

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.fill_null(value, matches_supertype=matches_supertype)

        if isinstance(value, pl.Expr):
            return self._next("fill_null", row_nodes.EachRow(self.node, "FILL NULL", method))
        return self._each("fill_null", "FILL NULL", method)

    def shift(self, n: int = 1, *, fill_value: Any = None) -> Self:
        """Every column moved by n rows of the whole table, as `polars.LazyFrame.shift`."""
        return self.with_columns(pl.all().shift(n, fill_value=fill_value))

    def interpolate(self) -> Self:
        """Nulls between two values of a column of numbers or times on the line between these."""
        return self.with_columns((cs.numeric() | cs.temporal()).interpolate())

    def set_sorted(
        self,
        column: str | Sequence[str],
        *more_columns: str,
        descending: bool | Sequence[bool] = False,
        nulls_last: bool | Sequence[bool] = False,
    ) -> Self:
        """Say that each rank's rows are sorted by these columns, unchecked, as `polars.LazyFrame.set_sorted`."""

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            names: Any = column if isinstance(column, str) else list(column)
            flags: Any = {"descending": descending, "nulls_last": nulls_last}
            return frame.set_sorted(names, *more_columns, **flags)

        return self._next("set_sorted", row_nodes.EachRow(self.node, "SET SORTED", method))

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
        return self._next("map_batches", row_nodes.MapPart(self.node, function, after))

    def unpivot(
        self, on: Any = None, *, index: Any = None, variable_name: str | None = None, value_name: str | None = None
    ) -> Self:
        """Columns into rows, as `polars.LazyFrame.unpivot`. Row order is not kept."""

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.unpivot(on, index=index, variable_name=variable_name, value_name=value_name)

        return self._next("unpivot", row_nodes.EachRow(self.node, "UNPIVOT", method))

    def explode(self, columns: Any, *more_columns: Any, empty_as_null: bool = False, keep_nulls: bool = True) -> Self:
        """Lists into rows, one for each of their values, as `polars.LazyFrame.explode`; on the rank where they are."""
        names = self._names("explode", (columns, *more_columns))

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.explode(names, empty_as_null=empty_as_null, keep_nulls=keep_nulls)

        return self._next("explode", row_nodes.EachRow(self.node, f"EXPLODE {list(names)}", method))

    def unnest(self, columns: Any = None, *more_columns: Any, separator: str | None = None) -> Self:
        """Structs into columns, one for each field, as `polars.LazyFrame.unnest`; None: all columns of structs."""
        chosen = cs.struct() if columns is None else columns
        names = self._names("unnest", (chosen, *more_columns))

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.unnest(names, separator=separator)

        return self._next("unnest", row_nodes.EachRow(self.node, f"UNNEST {list(names)}", method)) if names else self

    def match_to_schema(
        self,
        schema: Mapping[str, Any],
        *,
        missing_columns: Any = "raise",
        missing_struct_fields: Any = "raise",
        extra_columns: Literal["ignore", "raise"] = "raise",
        extra_struct_fields: Any = "raise",
        integer_cast: Any = "forbid",
        float_cast: Any = "forbid",
    ) -> Self:
        """The columns that the schema names, in its order and types, as `polars.LazyFrame.match_to_schema`."""

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.match_to_schema(
                schema,
                missing_columns=missing_columns,
                missing_struct_fields=missing_struct_fields,
                extra_columns=extra_columns,
                extra_struct_fields=extra_struct_fields,
                integer_cast=integer_cast,
                float_cast=float_cast,
            )

        return self._next("match_to_schema", row_nodes.EachRow(self.node, "MATCH TO SCHEMA", method))

    def _each(self, operator: str, label: str, method: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Self:
        return self._next(operator, row_nodes.Each(self.node, label, method))


def _conditions(predicates: Iterable[Any]) -> tuple[pl.Expr, ...]:
    """Predicates as expressions; of a mask, which to `as_expressions` is a list of columns, a literal of many rows."""
    return tuple(
        condition
        for each in predicates
        for condition in ([pl.lit(pl.Series(each))] if _is_mask(each) else as_expressions([each]))
    )


def _is_mask(predicate: Any) -> bool:
    if isinstance(predicate, np.ndarray | pl.Series):
        return True
    return isinstance(predicate, list | tuple) and bool(predicate) and all(isinstance(each, bool) for each in predicate)


def _is_float(dtype: pl.DataType) -> bool:
    return dtype.is_float()
