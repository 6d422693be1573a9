"""Values by their place in the order of all ranks' values: medians and quantiles, without moving any values.

Each rank sorts its own. To find the value at a place all ranks propose the median of what it may still be, and the
weighted median of the proposals divides: at least a quarter of what is left falls away in each round. Source:
Saukas and Song, A note on parallel selection on coarse-grained multicomputers, Algorithmica 24 (1999).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars as pl

from deeprc.communicator import Communicator

# Of the place that a quantile has among n sorted values: the places below and above, and the weight of the latter.
PLACES: dict[str, Callable[[float, int], tuple[int, int, float]]] = {
    "nearest": lambda part, n: _exact(math.floor(part * (n - 1) + 0.5)),
    "lower": lambda part, n: _exact(math.floor(part * (n - 1))),
    "higher": lambda part, n: _exact(math.ceil(part * (n - 1))),
    "midpoint": lambda part, n: _between(part * (n - 1), 0.5),
    "linear": lambda part, n: _between(part * (n - 1), None),
    "equiprobable": lambda part, n: _exact(max(math.ceil(part * n) - 1, 0)),
}


def quantile(values: pl.Series, part: float, method: str, comm: Communicator) -> float | None:
    """The quantile of all ranks' values, on every rank; None where there are none. Collective.

    Args:
        values: this rank's numbers; nulls do not count.
        part: in 0..1.
        method: "nearest", "lower", "higher", "midpoint", "linear" or "equiprobable", as Polars means them.
    """
    ordered = values.drop_nulls().sort()
    facts = comm.all_gather((len(ordered), len(values) - len(ordered)))
    count, nulls = (sum(column) for column in zip(*facts, strict=True))
    if not count:
        return None
    low, high, weight = PLACES[method](part, count)
    if method == "linear":
        # To Polars nulls come first; so far on, the last bits of the weight are others.
        place = part * (count - 1) + nulls
        low, high, weight = math.floor(place) - nulls, math.ceil(place) - nulls, place - math.floor(place)
    below = float(value_at(low, ordered, comm))
    if not weight:
        return below
    above = float(value_at(high, ordered, comm))
    return below if below == above else below + (above - below) * weight


def value_at(place: int, ordered: pl.Series, comm: Communicator) -> Any:
    """The value with so many before it, among all ranks' sorted values. Collective."""
    low, high = 0, len(ordered)
    while True:
        middle = (low + high) // 2
        proposals = comm.all_gather((high - low, ordered[middle] if high > low else None))
        pivot = _weighted_median([(value, weight) for weight, value in proposals if weight], ordered.dtype)
        before, through = (int(ordered.search_sorted(pivot, side)) for side in ("left", "right"))
        totals = [sum(counts) for counts in zip(*comm.all_gather((before, through)), strict=True)]
        if place < totals[0]:
            high = min(high, before)
        elif place < totals[1]:
            return pivot
        else:
            low = max(low, through)


def _weighted_median(proposals: list[tuple[Any, int]], dtype: pl.DataType) -> Any:
    values = pl.DataFrame({"value": pl.Series([value for value, _ in proposals], dtype=dtype)}).with_columns(
        weight=pl.Series([weight for _, weight in proposals])
    )
    ordered = values.sort("value")
    half = ordered["weight"].sum() / 2
    return ordered.filter(pl.col("weight").cum_sum() >= half)["value"][0]


def _exact(place: int) -> tuple[int, int, float]:
    return place, place, 0.0


def _between(place: float, weight: float | None) -> tuple[int, int, float]:
    low, high = math.floor(place), math.ceil(place)
    return low, high, (place - low if weight is None else weight) * (low != high)
