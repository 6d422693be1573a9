"""Summary statistics, as Polars' `describe` gives them, from all ranks' rows.

Counts, sums and extremes are taken on each rank first; a percentile is picked from its column, sorted over the
ranks. No rank has to hold a whole column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from deeprc.errors import SpecError, valid_values
from deeprc.table.methods.aggregates import Aggregates
from deeprc.table.methods.output import Output

_NO_ORDER = (pl.Categorical, pl.Enum, pl.Null)
# Of the place that a percentile has among the sorted values: the places below and above, and the weight of the latter.
_PLACES: dict[str, Callable[[float], tuple[int, int, float]]] = {
    "nearest": lambda place: (math.floor(place + 0.5), 0, 0.0),
    "lower": lambda place: (math.floor(place), 0, 0.0),
    "higher": lambda place: (math.ceil(place), 0, 0.0),
    "midpoint": lambda place: (math.floor(place), math.ceil(place), 0.5 * (place != math.floor(place))),
    "linear": lambda place: (math.floor(place), math.ceil(place), place - math.floor(place)),
}


class Statistics(Aggregates, Output):
    """A summary of each column."""

    def describe(
        self, percentiles: Sequence[float] | float | None = (0.25, 0.5, 0.75), *, interpolation: str = "nearest"
    ) -> pl.DataFrame:
        """Compute; count, nulls, mean, deviation, extremes and percentiles of each column, the same on all ranks.

        Collective. The result is that of `polars.LazyFrame.describe`.

        Args:
            percentiles: parts of one, in 0..1; None for none.
            interpolation: "nearest", "lower", "higher", "midpoint" or "linear".

        Raises:
            SpecError: a percentile is not in 0..1, or the interpolation is unknown.
        """
        parts = [percentiles] if isinstance(percentiles, int | float) else sorted(percentiles or ())
        if not all(0 <= part <= 1 for part in parts):
            raise SpecError(f"percentiles are in 0..1, not {parts}")
        if interpolation not in _PLACES:
            raise SpecError(
                f"unknown interpolation={interpolation!r}. "
                f"{valid_values(interpolation, list(_PLACES), noun='interpolation')}"
            )
        if not self.columns:
            raise SpecError("a table without columns has nothing to describe")
        basics = self._basics()
        names = ["count", "null_count", "mean", "std", "min", *(f"{part * 100:g}%" for part in parts), "max"]
        summary: dict[str, list[Any]] = {}
        for index, (name, dtype) in enumerate(self.schema.items()):
            values = {key: basics.get(f"{key}:{index}") for key in ("count", "null_count", "mean", "std", "min", "max")}
            picked: list[Any] = [None] * len(parts)
            if dtype.is_numeric() or dtype.is_temporal():
                picked = self._percentiles(name, dtype, int(basics[f"count:{index}"]), parts, interpolation)
            column = [*(values[key] for key in names[:5]), *picked, values["max"]]
            numbers = dtype.is_numeric() or dtype.is_nested() or dtype in (pl.Null, pl.Boolean)
            summary[name] = [_shown(value, as_number=numbers) for value in column]
        return pl.DataFrame({"statistic": names, **summary})

    def _basics(self) -> dict[str, Any]:
        """All but percentiles, as "statistic:column number"."""
        apart: list[pl.Expr] = []  # these begin on each rank
        whole: list[pl.Expr] = []
        for index, (name, dtype) in enumerate(self.schema.items()):
            column = pl.col(name)
            apart += [column.count().alias(f"count:{index}"), pl.len().alias(f"len:{index}")]
            if dtype.is_temporal():
                apart.append(column.to_physical().mean().alias(f"mean:{index}"))
            elif dtype.is_numeric() or dtype == pl.Boolean:
                (whole if dtype.is_decimal() else apart).append(column.mean().alias(f"mean:{index}"))
            if not (dtype.is_nested() or dtype in _NO_ORDER):
                ends = [column.min().alias(f"min:{index}"), column.max().alias(f"max:{index}")]
                (whole if dtype.is_decimal() or dtype == pl.Binary else apart).extend(ends)
        rows = [self.select(*some).gather() for some in (apart, whole) if some]
        values: dict[str, Any] = {key: value for row in rows for key, value in row.row(0, named=True).items()}
        squares = []
        for index, (name, dtype) in enumerate(self.schema.items()):
            values[f"null_count:{index}"] = values[f"len:{index}"] - values[f"count:{index}"]
            mean = values.get(f"mean:{index}")
            if dtype.is_temporal() and mean is not None:
                values[f"mean:{index}"] = _as_time(mean, dtype)
            elif dtype.is_numeric() and mean is not None and values[f"count:{index}"] > 1:
                if math.isnan(mean):
                    values[f"std:{index}"] = mean
                    continue
                deviation = pl.col(name).cast(pl.Float64) - float(mean)
                squares.append((deviation * deviation).sum().alias(f"{index}"))
        if squares:
            for number, total in self.select(*squares).gather().row(0, named=True).items():
                values[f"std:{number}"] = math.sqrt(total / (values[f"count:{number}"] - 1))
        return values

    def _percentiles(
        self, name: str, dtype: pl.DataType, count: int, parts: Sequence[float], interpolation: str
    ) -> list[Any]:
        if not count or not parts:
            return [None] * len(parts)
        places = [_PLACES[interpolation](part * (count - 1)) for part in parts]
        wanted = sorted({place for low, high, _ in places for place in (low, high)})
        values_of = pl.col(name).to_physical() if dtype.is_temporal() else pl.col(name)
        column = self.select(values_of).drop_nulls().sort(name).with_row_index("__place__")
        chosen = column.filter(pl.col("__place__").is_in(wanted)).gather()
        at = dict(chosen.select("__place__", pl.col(name).cast(pl.Float64)).iter_rows())
        values = [at[low] if not weight else at[low] + (at[high] - at[low]) * weight for low, high, weight in places]
        if dtype.is_temporal():
            return pl.Series(values).cast(pl.Int64).cast(dtype).to_list()
        return values


def _as_time(mean: float, dtype: pl.DataType) -> Any:
    """The mean of days is a moment; of others it is of their kind."""
    if dtype == pl.Date:
        return pl.Series([mean * 86_400_000_000]).cast(pl.Int64).cast(pl.Datetime("us"))[0]
    return pl.Series([mean]).cast(pl.Int64).cast(dtype)[0]


def _shown(value: Any, *, as_number: bool) -> Any:
    if value is None or isinstance(value, dict):
        return None
    return float(value) if as_number else str(value)
