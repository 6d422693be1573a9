"""Methods that make one row of many."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal, Self

import polars as pl
from polars._typing import ClosedInterval, Label, StartBy
from polars._utils.convert import parse_as_duration_string

from deeprc.errors import SpecError
from deeprc.table.methods.columns import Columns
from deeprc.table.methods.groups import GroupBy, Windows
from deeprc.table.methods.rows import Rows
from deeprc.table.plan import row_nodes
from deeprc.table.plan.expressions import as_expressions
from deeprc.table.schema import as_data_error


class Aggregates(Columns, Rows):
    """Groups and windows of rows."""

    def group_by(self, *by: Any, maintain_order: bool = False, **named_by: Any) -> GroupBy[Self]:
        """Group by columns or expressions; `.agg(...)` follows, as in Polars.

        Args:
            by, named_by: columns or expressions.
            maintain_order: give groups in the order of their first rows.
        """
        expressions = (*self._expanded("group_by", by), *as_expressions((), named_by))
        if not expressions:
            raise SpecError("group_by takes at least one key; for the whole table use select(...)")
        with as_data_error("group_by", self.columns):
            pl.LazyFrame(schema=self.schema).select(*expressions).collect_schema()
        return GroupBy(self, expressions, maintain_order)

    def group_by_dynamic(
        self,
        index_column: str | pl.Expr,
        *,
        every: str | timedelta,
        period: str | timedelta | None = None,
        offset: str | timedelta | None = None,
        include_boundaries: bool = False,
        closed: ClosedInterval = "left",
        label: Label = "left",
        group_by: Any = None,
        start_by: StartBy = "window",
    ) -> Windows[Self]:
        """Group by windows of time or numbers; `.agg(...)` follows, as `polars.LazyFrame.group_by_dynamic`.

        The table has to be sorted by `index_column`, within each group of `group_by` where that is given; groups
        then meet by key and row order is not kept. Without `group_by` each rank computes the windows that begin
        among its rows; with a `start_by` other than "window" rank 0 computes.
        """
        table, index = self._with_index("group_by_dynamic", index_column)
        options = {
            "every": every,
            "period": period,
            "offset": offset,
            "include_boundaries": include_boundaries,
            "closed": closed,
            "label": label,
            "start_by": start_by,
        }
        return table._windows("group_by_dynamic", index, group_by, options)

    def rolling(
        self,
        index_column: str | pl.Expr,
        *,
        period: str | timedelta,
        offset: str | timedelta | None = None,
        closed: ClosedInterval = "right",
        group_by: Any = None,
    ) -> Windows[Self]:
        """For each row the rows of the window that ends with it; `.agg(...)` follows, as `polars.LazyFrame.rolling`.

        Sorted, grouped and placed as with `group_by_dynamic`.
        """
        table, index = self._with_index("rolling", index_column)
        return table._windows("rolling", index, group_by, {"period": period, "offset": offset, "closed": closed})

    def _with_index(self, operator: str, index: str | pl.Expr) -> tuple[Self, str]:
        """The name of the index; one that is computed becomes a column, as in Polars."""
        if isinstance(index, str):
            return self, index
        name = self._names(operator, (index,))[0]
        return (self if index.meta.is_column() else self.with_columns(index)), name

    def _windows(
        self, operator: Literal["group_by_dynamic", "rolling"], index: str, group_by: Any, options: dict[str, Any]
    ) -> Windows[Self]:
        names = () if group_by is None else self._names(operator, (group_by,))
        return Windows(self, names, operator, index, {**options, "group_by": list(names) or None})

    def upsample(
        self, time_column: str, *, every: str | timedelta, group_by: Any = None, maintain_order: bool = False
    ) -> Self:
        """A row for each step of time from the first to the last, as `polars.DataFrame.upsample`.

        The table has to be sorted by `time_column`, within each group of `group_by` where that is given; groups then
        meet by key. What lies between two rows is null: fill it by `interpolate` or `fill_null`.

        Args:
            maintain_order: give groups in the order of their first rows.
        """
        step = parse_as_duration_string(every)
        if group_by is None:
            return self._next(
                "upsample", row_nodes.Upsampled(self.node, self._names("upsample", (time_column,))[0], step)
            )
        names = self._names("upsample", (group_by,))
        keys, more = list(names), ["__first__"] * maintain_order
        table = self.with_row_index("__row__") if maintain_order else self

        def stepped(part: pl.DataFrame) -> pl.DataFrame:
            # Polars finds no first moment where there are no rows, as on a rank without groups.
            return part.upsample(time_column, every=step, group_by=[*keys, *more]) if part.height else part

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            firsts = [pl.col("__row__").min().over(keys).alias("__first__")] * maintain_order
            return frame.with_columns(*firsts).map_batches(stepped)

        steps = table._next("upsample", table._keyed(f"UPSAMPLE {time_column} every {step}", names, method))
        return steps.sort("__first__", time_column, maintain_order=True).drop("__row__", "__first__") if more else steps

    def value_counts(
        self, column: Any, *, sort: bool = False, name: str | None = None, normalize: bool = False
    ) -> Self:
        """How often each value of a column or row-wise expression occurs, as `polars.Series.value_counts`.

        Args:
            column: whose values are counted.
            sort: the most frequent first; else in no order.
            name: of the new column; None: "count", or "proportion" where normalized.
            normalize: parts of one in place of counts.
        """
        name = name or ("proportion" if normalize else "count")
        counts = self.group_by(column).agg(pl.len().alias(name))
        if normalize:
            counts = counts.with_columns(pl.col(name) / pl.col(name).sum())
        return counts.sort(name, descending=True) if sort else counts

    def pivot(
        self,
        on: Any,
        on_columns: Sequence[Any],
        *,
        index: Any = None,
        values: Any = None,
        aggregate_function: Any = None,
        maintain_order: bool = False,
        separator: str = "_",
        column_naming: Literal["auto", "combine"] = "auto",
    ) -> Self:
        """Rows into columns, one for each of `on_columns`, as `polars.LazyFrame.pivot`.

        Args:
            index, values: columns; of one of the two None: all that are not named.
            maintain_order: in the order of the first rows of equal `index`; else row order is not kept.
        """
        used = self._names("pivot", [on, *([] if values is None else [values])])
        left = [name for name in self.columns if name not in used]
        names = tuple(left) if index is None else self._names("pivot", (index,))
        if values is None and index is None:
            raise SpecError("pivot takes index= or values=, or both")
        chosen = [name for name in left if name not in names] if values is None else values
        table = self.with_row_index("__row__") if maintain_order else self
        first = ["__first__"] * maintain_order

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            rows = frame.with_columns(*[pl.col("__row__").min().over(*names).alias("__first__")] * maintain_order)
            return rows.pivot(
                on,
                on_columns,
                index=[*names, *first],
                values=chosen,
                aggregate_function=aggregate_function,
                separator=separator,
                column_naming=column_naming,
            )

        wide = table._next("pivot", table._keyed("PIVOT", names, method))
        return wide.sort("__first__").drop("__first__") if maintain_order else wide
