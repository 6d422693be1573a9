"""Exponentially weighted means: what a rank's values come to alone, and what the values before them add.

With decay d a value weighs d times as much with each row after it. A rank computes its means as if it were the first;
the mean and the weight of all before it, folded from one row a rank, then come in with the decay since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from deeprc.table.operators.folded import run_folded
from deeprc.table.plan.expressions import from_tree, tree
from deeprc.table.plan.window_nodes import Around, Smoothed
from deeprc.table.stage import Execution, Stage, compute

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Ended:
    """What a rank's values come to: how many they are, their mean and its weight, what of the weight before is left.

    `first` is the first value, `lead` and `trail` the rows without one before and after.
    """

    count: int
    mean: float
    weight: float
    left: float
    first: float
    lead: int
    trail: int


@dataclass(frozen=True)
class _Before:
    """The mean and its weight at a rank's border, how many values it is of, and rows without one since the last."""

    mean: float = 0.0
    weight: float = 0.0
    count: int = 0
    trail: int = 0


@dataclass(frozen=True)
class _Rows:
    """Values, which of them are known, and as in `alone`."""

    own: pl.Series
    known: NDArray[np.bool_]
    means: Floats
    weights: Floats
    left: Floats


@dataclass(frozen=True)
class _Smoothing:
    """One expression; `options` are Polars' own."""

    values: pl.Expr
    options: dict[str, Any]
    dtype: pl.DataType
    name: str
    start: _Before = _Before()

    def rows(self, part: pl.DataFrame) -> _Rows:
        own = compute(part.lazy().select(self.values)).to_series()
        known = own.is_not_null().to_numpy()
        return _Rows(own, known, *alone(own, known, self.options))

    def ended(self, rows: _Rows) -> _Ended:
        return _ended(rows)

    def after(self, before: _Before, ended: _Ended) -> _Before:
        return _after(before, ended, self.options)

    def column(self, rows: _Rows, before: _Before) -> pl.Series:
        known, means, left = rows.known, rows.means, rows.left
        if before.count and known.any():
            if self.options["adjust"]:
                with np.errstate(invalid="ignore"):  # In rows without a value all weight may be gone.
                    both = rows.weights + left * before.weight
                    means = (rows.weights * means + left * before.weight * before.mean) / both
            else:
                start = float(rows.own.drop_nulls()[0])
                means = means + left * (_joined(before, start, int(known.argmax()), self.options) - start)
        enough = known & (before.count + known.cumsum() >= self.options["min_periods"])
        result = pl.DataFrame({self.name: means, "enough": enough}).select(pl.when("enough").then(self.name))
        return result.to_series().cast(self.dtype)


def smoothings(node: Around) -> list[_Smoothing]:
    """The columns of the node, to be folded."""
    columns = []
    for expression in node.exprs:
        function = tree(expression)["Alias"][0]["Function"]
        name = expression.meta.output_name()
        values = from_tree(function["input"][0]).cast(pl.Float64).alias(name)
        columns.append(_Smoothing(values, function["function"]["EwmMean"]["options"], node.schema[name], name))
    return columns


def run_smoothed(node: Smoothed, run: Execution) -> Stage:
    """One row of each rank goes to all."""
    return run_folded(node, smoothings, run)


def alone(own: pl.Series, known: NDArray[np.bool_], options: dict[str, Any]) -> tuple[Floats, Floats, Floats]:
    """In each row the mean, its weight, and what is left there of a weight at the border, as if no rank came before.

    Without adjustment the last is what is left of a change of the first value, and weights do not count.
    """
    decay, skips = 1.0 - float(options["alpha"]), bool(options["ignore_nulls"])
    weighted = {"alpha": options["alpha"], "adjust": options["adjust"], "ignore_nulls": skips, "min_samples": 1}
    means = own.ewm_mean(**weighted).forward_fill().fill_null(0.0).to_numpy().astype(np.float64)
    count, rows = known.cumsum(), np.arange(1, len(known) + 1)
    if not options["adjust"]:
        places = count[known] if skips else rows[known]
        gaps = decay ** np.diff(places).astype(np.float64)
        factors = np.ones(len(known))
        if places.size:
            factors[np.flatnonzero(known)[1:]] = gaps / (gaps + 1.0 - decay)
        return means, np.ones(len(known)), factors.cumprod()
    steps = (count if skips else rows).astype(np.float64)
    full = (1.0 - decay**steps) / (1.0 - decay)
    if skips:
        return means, full, decay**steps
    share = pl.Series(known).cast(pl.Float64).ewm_mean(alpha=options["alpha"], adjust=True, ignore_nulls=False)
    return means, share.to_numpy().astype(np.float64) * full, decay**steps


def _ended(rows: _Rows) -> _Ended:
    known, left = rows.known, rows.left
    if not known.any():
        kept = float(left[-1]) if len(left) else 1.0
        return _Ended(0, 0.0, 0.0, kept, 0.0, len(known), len(known))
    lead, trail = int(known.argmax()), int(known[::-1].argmax())
    first = float(rows.own.drop_nulls()[0])
    mean, weight = float(rows.means[-1]), float(rows.weights[-1])
    return _Ended(int(known.sum()), mean, weight, float(left[-1]), first, lead, trail)


def _after(before: _Before, ended: _Ended, options: dict[str, Any]) -> _Before:
    """The same at the border after a rank."""
    count = before.count + ended.count
    if options["adjust"]:
        weight = ended.weight + ended.left * before.weight
        total = ended.weight * ended.mean + ended.left * before.weight * before.mean
        mean = total / weight if weight else ended.mean
        return _Before(mean if ended.count else before.mean, weight, count)
    if not ended.count:
        return _Before(before.mean, 1.0, count, before.trail + ended.trail)
    change = _joined(before, ended.first, ended.lead, options) - ended.first if before.count else 0.0
    return _Before(ended.mean + ended.left * change, 1.0, count, ended.trail)


def _joined(before: _Before, first: float, lead: int, options: dict[str, Any]) -> float:
    """The mean at a rank's first value, without adjustment."""
    alpha = float(options["alpha"])
    left = (1.0 - alpha) ** (1 if options["ignore_nulls"] else before.trail + lead + 1)
    return (left * before.mean + alpha * first) / (left + alpha)
