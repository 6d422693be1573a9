"""Means, variances, covariances and correlations from those of parts.

Each part gives its count, its means, and its squares and products about these means, which lose no digits where
plain sums of squares would. Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for
computing sample variances, Stanford STAN-CS-79-773 (1979).
"""

from __future__ import annotations

import polars as pl

Halves = tuple[list[pl.Expr], pl.Expr]


def mean(values: pl.Expr, part: str) -> Halves:
    """The mean, from sums and counts."""
    total, count = pl.col(f"{part}_sum").sum(), pl.col(f"{part}_count").sum()
    halves = [
        values.cast(pl.Float64).sum().alias(f"{part}_sum"),
        values.count().alias(f"{part}_count"),
    ]
    return halves, pl.when(count > 0).then(total / count)


def variance(values: pl.Expr, ddof: int, part: str) -> Halves:
    """The variance, null where there are no more than `ddof` values."""
    numbers = values.cast(pl.Float64)
    halves = [
        numbers.count().cast(pl.Float64).alias(f"{part}_count"),
        numbers.mean().alias(f"{part}_mean"),
        (numbers.var(ddof=0) * numbers.count()).alias(f"{part}_squares"),
    ]
    count, about = _count(part), _about(part, "squares", "mean", "mean")
    return halves, pl.when(count > ddof).then(about / (count - ddof))


def covariance(left: pl.Expr, right: pl.Expr, ddof: int, part: str) -> Halves:
    """The covariance of the pairs without a null, null where there are no more than `ddof` of them."""
    count, about = _count(part), _about(part, "products", "mean_left", "mean_right")
    return _of_pairs(left, right, part), pl.when(count > ddof).then(about / (count - ddof))


def correlation(left: pl.Expr, right: pl.Expr, part: str) -> Halves:
    """Pearson's correlation of the pairs without a null: NaN where a side does not vary, null without pairs."""
    one, other = _paired(left, right)
    halves = _of_pairs(left, right, part)
    halves += [
        (numbers.var(ddof=0) * numbers.count()).alias(f"{part}_squares_{side}")
        for side, numbers in (("left", one), ("right", other))
    ]
    lefts = _about(part, "squares_left", "mean_left", "mean_left")
    rights = _about(part, "squares_right", "mean_right", "mean_right")
    products = _about(part, "products", "mean_left", "mean_right")
    return halves, pl.when(_count(part) > 0).then(products / (lefts.sqrt() * rights.sqrt()))


def _of_pairs(left: pl.Expr, right: pl.Expr, part: str) -> list[pl.Expr]:
    one, other = _paired(left, right)
    return [
        one.count().cast(pl.Float64).alias(f"{part}_count"),
        one.mean().alias(f"{part}_mean_left"),
        other.mean().alias(f"{part}_mean_right"),
        (pl.cov(one, other, ddof=0) * one.count()).alias(f"{part}_products"),
    ]


def _paired(left: pl.Expr, right: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Both sides, null where the other is."""
    one, other = left.cast(pl.Float64), right.cast(pl.Float64)
    return pl.when(right.is_not_null()).then(one), pl.when(left.is_not_null()).then(other)


def _count(part: str) -> pl.Expr:
    return pl.col(f"{part}_count").sum()


def _about(part: str, products: str, left: str, right: str) -> pl.Expr:
    """The sum over all values of products about the means of all, from those about each part's means."""
    count, one, other = (pl.col(f"{part}_{what}") for what in ("count", left, right))
    # A part of one value may be said to have no variance.
    within = pl.col(f"{part}_{products}").fill_null(0.0).sum()
    middles = [(count * each).sum() / count.sum() for each in (one, other)]
    return within + (count * (one - middles[0]) * (other - middles[1])).sum()
