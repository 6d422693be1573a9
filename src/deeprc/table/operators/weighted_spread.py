"""Exponentially weighted variances and deviations: a rank's rows as if none came before, merged with what did.

Of the values up to a row, decayed, four numbers say all: their mean, their weight, their variance, and how unlike one
single value their weights are, u = 1 - sum(w^2) / sum(w)^2, by which Polars divides a variance that is not to be
biased. Those of two sets of values give those of both together. Source: as in `decompose.py`, with weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from deeprc.table.operators.folded import run_folded
from deeprc.table.operators.smoothing import Floats, alone
from deeprc.table.plan.expressions import from_tree, tree
from deeprc.table.plan.window_nodes import Around, WeightedSpread
from deeprc.table.stage import Execution, Stage, compute


@dataclass(frozen=True)
class _Decayed:
    """The four numbers in each row, or at a border."""

    mean: Floats
    weight: Floats
    variance: Floats
    unlike: Floats


@dataclass(frozen=True)
class _Part:
    """A rank's last row, as if no rank came before.

    `left` is what of a weight before is left there, `first` the first value, `count` how many values there are, `lead`
    and `trail` the rows without one before and after.
    """

    row: _Decayed
    left: float
    first: float
    count: int
    lead: int
    trail: int


@dataclass(frozen=True)
class _Before:
    row: _Decayed
    count: int = 0
    trail: int = 0


@dataclass(frozen=True)
class _Rows:
    """Values, which of them are known, the four numbers in each row, and what is left there of a weight before."""

    own: pl.Series
    known: NDArray[np.bool_]
    row: _Decayed
    left: Floats


@dataclass(frozen=True)
class _Spread:
    """One expression; `options` are Polars' own."""

    values: pl.Expr
    options: dict[str, Any]
    dtype: pl.DataType
    name: str
    is_root: bool

    @property
    def start(self) -> _Before:
        return _Before(_of(0.0, 0.0, 0.0, 0.0))

    def rows(self, part: pl.DataFrame) -> _Rows:
        own = compute(part.lazy().select(self.values)).to_series()
        known = own.is_not_null().to_numpy()
        return _Rows(own, known, *_rows(own, known, self.options))

    def ended(self, rows: _Rows) -> _Part:
        return _part(rows.own, rows.known, rows.row, rows.left)

    def after(self, before: _Before, ended: _Part) -> _Before:
        return _after(before, ended, self.options)

    def column(self, rows: _Rows, before: _Before) -> pl.Series:
        row, known, bias = rows.row, rows.known, self.options["bias"]
        if before.count and known.any():
            row = _joined(before, row, rows.left, _first(rows.own, known), self.options)
        variance = row.variance
        if not bias:
            with np.errstate(divide="ignore", invalid="ignore"):
                variance = variance / row.unlike
        enough = known & (before.count + known.cumsum() >= self.options["min_periods"])
        if not bias:
            enough &= row.unlike > 0
        result = pl.DataFrame({self.name: variance, "enough": enough}).select(pl.when("enough").then(self.name))
        return (result.to_series().sqrt() if self.is_root else result.to_series()).cast(self.dtype)


def spreads(node: Around) -> list[_Spread]:
    """The columns of the node, to be folded."""
    columns = []
    for expression in node.exprs:
        function = tree(expression)["Alias"][0]["Function"]
        called, inside = next(iter(function["function"].items()))
        name = expression.meta.output_name()
        values = from_tree(function["input"][0]).cast(pl.Float64).alias(name)
        columns.append(_Spread(values, inside["options"], node.schema[name], name, called == "EwmStd"))
    return columns


def run_weighted_spread(node: WeightedSpread, run: Execution) -> Stage:
    """One row of each rank goes to all."""
    return run_folded(node, spreads, run)


def _rows(own: pl.Series, known: NDArray[np.bool_], options: dict[str, Any]) -> tuple[_Decayed, Floats]:
    means, weights, left = alone(own, known, options)
    weighted = {"alpha": options["alpha"], "adjust": options["adjust"], "ignore_nulls": options["ignore_nulls"]}
    variances = _filled(own.ewm_var(bias=True, min_samples=1, **weighted))
    # Of values that are not alike, what Polars divides by shows.
    turns = pl.DataFrame({"value": known.cumsum() % 2, "known": known}).select(pl.when("known").then("value"))
    unlike = turns.to_series().cast(pl.Float64)
    biased, corrected = (unlike.ewm_var(bias=bias, min_samples=1, **weighted) for bias in (True, False))
    return _Decayed(means, weights, variances, _filled(biased / corrected, biased)), left


def _filled(values: pl.Series, where: pl.Series | None = None) -> Floats:
    """With the last value before, zeros before the first; a null of a row that is known otherwise is zero."""
    if where is not None:
        values = values.zip_with(
            values.is_not_null() | where.is_null(), pl.Series([0.0]).new_from_index(0, len(values))
        )
    filled: Floats = values.forward_fill().fill_null(0.0).to_numpy().astype(np.float64)
    return filled


def _first(own: pl.Series, known: NDArray[np.bool_]) -> tuple[float, int]:
    """The first value, and how many rows come before it."""
    return float(own.drop_nulls()[0]), int(known.argmax())


def _part(own: pl.Series, known: NDArray[np.bool_], rows: _Decayed, left: Floats) -> _Part:
    if not known.any():
        kept = float(left[-1]) if len(left) else 1.0
        return _Part(_of(0.0, 0.0, 0.0, 0.0), kept, 0.0, 0, len(known), len(known))
    first, lead = _first(own, known)
    last = _of(*(float(each[-1]) for each in (rows.mean, rows.weight, rows.variance, rows.unlike)))
    return _Part(last, float(left[-1]), first, int(known.sum()), lead, int(known[::-1].argmax()))


def _of(mean: float, weight: float, variance: float, unlike: float) -> _Decayed:
    return _Decayed(*(np.array([each]) for each in (mean, weight, variance, unlike)))


def _after(before: _Before, part: _Part, options: dict[str, Any]) -> _Before:
    """What is known at the border after a rank."""
    count = before.count + part.count
    if not part.count:
        weight = before.row.weight * part.left if options["adjust"] else before.row.weight
        row = _Decayed(before.row.mean, weight, before.row.variance, before.row.unlike)
        return _Before(row, count, before.trail + part.trail)
    if not before.count:
        return _Before(part.row, count, part.trail)
    joined = _joined(before, part.row, np.array([part.left]), (part.first, part.lead), options)
    return _Before(joined, count, part.trail)


def _joined(
    before: _Before, rows: _Decayed, left: Floats, first: tuple[float, int], options: dict[str, Any]
) -> _Decayed:
    """The rows with what came before them. `first`: the first value, and how many rows without one precede it."""
    with np.errstate(invalid="ignore", divide="ignore"):  # In rows without a value all weight may be gone.
        if options["adjust"]:
            return _merged(before.row, left * before.row.weight, rows, rows.weight)
        alpha = float(options["alpha"])
        decayed = (1.0 - alpha) ** (1 if options["ignore_nulls"] else before.trail + first[1] + 1)
        start = _merged(before.row, np.array([decayed]), _of(first[0], 1.0, 0.0, 0.0), np.array([alpha]))
        return _begun_with(start, rows, left, first[0])


def _merged(one: _Decayed, one_weight: Floats, other: _Decayed, other_weight: Floats) -> _Decayed:
    weight = one_weight + other_weight
    share = np.where(weight > 0, one_weight / weight, 0.0)
    apart = one.mean - other.mean
    variance = (1 - share) * other.variance + share * one.variance + share * (1 - share) * apart**2
    unlike = share**2 * one.unlike + (1 - share) ** 2 * other.unlike + 2 * share * (1 - share)
    return _Decayed(other.mean + share * apart, weight, variance, unlike)


def _begun_with(start: _Decayed, rows: _Decayed, left: Floats, first: float) -> _Decayed:
    """Rows without adjustment, had they begun not with the first value, but with what `start` says in its place."""
    change = start.mean - first
    above = rows.mean - first
    variance = rows.variance + left * (start.variance + change**2 * (1 - left) - 2 * above * change)
    unlike = rows.unlike + left**2 * start.unlike
    return _Decayed(rows.mean + left * change, rows.weight, variance, unlike)
