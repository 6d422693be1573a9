"""One aggregate of each column: the methods that groups and windows share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Generic

import polars as pl
from polars._typing import QuantileMethod

from deeprc.table.methods.planned import PlannedT


class EachColumn(ABC, Generic[PlannedT]):
    """What comes between `group_by` or its like and `agg`, and the short forms of `agg`."""

    @abstractmethod
    def agg(self, *aggs: Any, **named_aggs: Any) -> PlannedT:
        """Aggregate each group with any Polars expressions, exactly."""

    @abstractmethod
    def _each(self, aggregate: Callable[[pl.Expr], pl.Expr]) -> PlannedT:
        """The aggregate of each column that is no key."""

    def len(self, name: str | None = None) -> PlannedT:
        """The number of rows of each group, in a column of this name; None: "len"."""
        return self.agg(pl.len().alias(name or "len"))

    def all(self) -> PlannedT:
        """All values of each other column, as lists."""
        return self._each(lambda column: column)

    def first(self, *, ignore_nulls: bool = False) -> PlannedT:
        """The first value of each other column; `ignore_nulls`: the first that is not null."""
        return self._each(lambda column: column.first(ignore_nulls=ignore_nulls))

    def last(self, *, ignore_nulls: bool = False) -> PlannedT:
        """The last value of each other column; `ignore_nulls`: the last that is not null."""
        return self._each(lambda column: column.last(ignore_nulls=ignore_nulls))

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

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            "groups of a distributed table are not iterated over: use agg, or map_groups(function, schema), or "
            "gather().group_by(...) for a table that fits on a rank"
        )
