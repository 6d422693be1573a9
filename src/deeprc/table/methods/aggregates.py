"""Methods that make one row of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import polars as pl

from deeprc.errors import SpecError
from deeprc.table.methods.columns import Columns
from deeprc.table.methods.groups import GroupBy, Windows
from deeprc.table.methods.rows import Rows
from deeprc.table.plan.expressions import as_expressions
from deeprc.table.schema import as_data_error


class Aggregates(Columns, Rows):
    """Groups and windows of rows."""

    def group_by(self, *keys: Any, maintain_order: bool = False, **named: Any) -> GroupBy[Self]:
        """Group by columns or expressions; `.agg(...)` follows, as in Polars.

        Args:
            keys, named: columns or row-wise expressions.
            maintain_order: give groups in the order of their first rows.
        """
        expressions = (*self._expanded("group_by", keys), *as_expressions((), named))
        if not expressions:
            raise SpecError("group_by takes at least one key; for the whole table use select(...)")
        with as_data_error("group_by", self.columns):
            pl.LazyFrame(schema=self.schema).select(*expressions).collect_schema()
        return GroupBy(self, expressions, maintain_order)

    def group_by_dynamic(self, index_column: str, *, every: Any, group_by: Any = None, **options: Any) -> Windows[Self]:
        """Group by windows of time or numbers; `.agg(...)` follows, as `polars.LazyFrame.group_by_dynamic`.

        The table has to be sorted by `index_column`, within each group of `group_by` where that is given; groups
        then meet by key and row order is not kept. Without `group_by` each rank computes the windows that begin
        among its rows. `options` are Polars'; with a `start_by` other than "window" rank 0 computes.
        """
        names = () if group_by is None else self._names("group_by_dynamic", (group_by,))
        options = {**options, "every": every, "group_by": list(names) or None}
        return Windows(self, names, "group_by_dynamic", index_column, options)

    def rolling(self, index_column: str, *, period: Any, group_by: Any = None, **options: Any) -> Windows[Self]:
        """For each row the rows of the window that ends with it; `.agg(...)` follows, as `polars.LazyFrame.rolling`.

        Sorted, grouped and placed as with `group_by_dynamic`.
        """
        names = () if group_by is None else self._names("rolling", (group_by,))
        options = {**options, "period": period, "group_by": list(names) or None}
        return Windows(self, names, "rolling", index_column, options)

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
        on: str,
        on_columns: Sequence[Any],
        *,
        index: Any,
        values: Any,
        aggregate_function: Any = None,
        separator: str = "_",
    ) -> Self:
        """Rows into columns, one for each of `on_columns`, as `polars.LazyFrame.pivot`. Row order is not kept."""
        names = self._names("pivot", (index,))

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.pivot(
                on,
                on_columns,
                index=list(names),
                values=values,
                aggregate_function=aggregate_function,
                separator=separator,
            )

        return self._next("pivot", self._keyed("PIVOT", names, method))
