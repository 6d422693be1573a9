"""Methods that make one row of a whole table, as Polars' frame methods of these names do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, get_args

import polars as pl
from polars._typing import QuantileMethod

from deeprc.errors import SpecError, valid_values
from deeprc.table.methods.columns import Columns

_Fits = Callable[[pl.DataType], bool]


class Totals(Columns):
    """One row, on rank 0, with a value for each column; null where a column's type has none."""

    def count(self) -> Self:
        """How many values of each column are not null."""
        return self.select(*(pl.col(name).count() for name in self.columns))

    def null_count(self) -> Self:
        """How many values of each column are null."""
        return self.select(*(pl.col(name).null_count() for name in self.columns))

    def sum(self) -> Self:
        """The sum of each column of numbers, booleans or durations."""
        return self._of_columns(pl.Expr.sum, _adds_up)

    def min(self) -> Self:
        """The smallest value of each column that is not nested."""
        return self._of_columns(pl.Expr.min, _has_order)

    def max(self) -> Self:
        """The largest value of each column that is not nested."""
        return self._of_columns(pl.Expr.max, _has_order)

    def mean(self) -> Self:
        """The mean of each column of numbers, booleans or times."""
        return self._of_columns(pl.Expr.mean, _has_mean)

    def median(self) -> Self:
        """The median of each column of numbers, booleans or times."""
        return self._of_columns(pl.Expr.median, _has_median)

    def std(self, ddof: int = 1) -> Self:
        """The standard deviation of each column of numbers or booleans."""
        return self._of_columns(lambda column: column.std(ddof), _is_number)

    def var(self, ddof: int = 1) -> Self:
        """The variance of each column of numbers or booleans."""
        return self._of_columns(lambda column: column.var(ddof), _is_number)

    def quantile(self, quantile: float, interpolation: QuantileMethod = "nearest") -> Self:
        """The quantile of each column of numbers or times.

        Args:
            quantile: a part of one, in 0..1.
            interpolation: "nearest", "lower", "higher", "midpoint", "linear" or "equiprobable".

        Raises:
            SpecError: the quantile is not in 0..1, or the interpolation is unknown.
        """
        if not 0 <= quantile <= 1:
            raise SpecError(f"a quantile is in 0..1, not {quantile}")
        known = get_args(QuantileMethod)
        if interpolation not in known:
            raise SpecError(
                f"unknown interpolation={interpolation!r}. {valid_values(interpolation, known, noun='interpolation')}"
            )
        return self._of_columns(lambda column: column.quantile(quantile, interpolation), _has_quantiles)

    def _of_columns(self, aggregate: Callable[[pl.Expr], pl.Expr], fits: _Fits) -> Self:
        return self.select(
            *(
                aggregate(pl.col(name)) if fits(dtype) else pl.lit(None, dtype=dtype).alias(name)
                for name, dtype in self.schema.items()
            )
        )


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean


def _adds_up(dtype: pl.DataType) -> bool:
    return _is_number(dtype) or dtype == pl.Duration


def _has_quantiles(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or (dtype.is_temporal() and dtype != pl.Time)


def _has_mean(dtype: pl.DataType) -> bool:
    return _has_quantiles(dtype) or dtype == pl.Boolean


def _has_median(dtype: pl.DataType) -> bool:
    return _has_mean(dtype) and not dtype.is_decimal()


def _has_order(dtype: pl.DataType) -> bool:
    return not dtype.is_nested()
