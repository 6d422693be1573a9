"""Skewness and kurtosis in two halves: each part's count, mean and sums of powers about it, then those of all.

Source: Pebay, Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
moments, Sandia report SAND2008-6212 (2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

Halves = tuple[list[pl.Expr], pl.Expr]


@dataclass(frozen=True)
class _Moments:
    """How many values there are, and the sums of the second, third and fourth powers of their deviations."""

    count: pl.Expr
    second: pl.Expr
    third: pl.Expr
    fourth: pl.Expr


def skewness(values: pl.Expr, part: str, *, bias: bool) -> Halves:
    """As `Expr.skew`."""
    sums = _merged(part)
    count = sums.count
    biased = (sums.third / count) / (sums.second / count) ** 1.5
    if bias:
        return _partial(values, part), pl.when(count > 0).then(biased)
    return _partial(values, part), pl.when(count > 2).then(biased * (count * (count - 1)).sqrt() / (count - 2))


def kurtosis(values: pl.Expr, part: str, *, fisher: bool, bias: bool) -> Halves:
    """As `Expr.kurtosis`."""
    sums = _merged(part)
    count, normal = sums.count, 3.0 * fisher
    biased = count * sums.fourth / sums.second**2
    if bias:
        return _partial(values, part), pl.when(count > 0).then(biased - normal)
    corrected = ((count**2 - 1) * biased - 3 * (count - 1) ** 2) / ((count - 2) * (count - 3)) + 3
    return _partial(values, part), pl.when(count > 3).then(corrected - normal)


def _partial(values: pl.Expr, part: str) -> list[pl.Expr]:
    numbers = values.cast(pl.Float64)
    mean = _mean_from(numbers.min(), numbers)
    about = numbers - mean
    powers = [(about**power).sum().alias(f"{part}_power{power}") for power in (2, 3, 4)]
    return [numbers.count().cast(pl.Float64).alias(f"{part}_count"), mean.alias(f"{part}_mean"), *powers]


def _merged(part: str) -> _Moments:
    n, mean = pl.col(f"{part}_count"), pl.col(f"{part}_mean")
    second, third, fourth = (pl.col(f"{part}_power{power}") for power in (2, 3, 4))
    above = mean - mean.min()
    off = above - (n * above).sum() / n.sum()
    return _Moments(
        n.sum(),
        _sum([second, n * off**2]),
        _sum([third, 3 * off * second, n * off**3]),
        _sum([fourth, 4 * off * third, 6 * off**2 * second, n * off**4]),
    )


def _sum(terms: Sequence[pl.Expr]) -> pl.Expr:
    """Over the parts. A part without values has no mean, and adds nothing."""
    return pl.sum_horizontal(*terms).sum()


def _mean_from(origin: pl.Expr, numbers: pl.Expr) -> pl.Expr:
    """The mean: counted from the smallest value, so that that of equal ones is exactly theirs."""
    return origin + (numbers - origin).mean()
