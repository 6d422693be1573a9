"""What an evaluation leaves for the report: tables of scores, and hydrographs."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from statistics import median

import polars as pl

from deeprc.journal import Hydrograph, MetricTable
from deeprc.workloads.hydrology.scores import SIMULATIONS, Score


def medians(scores: Sequence[Score], lead_days: int) -> MetricTable:
    """Over the rivers of `scores`: what studies of many catchments report."""
    rows = {}
    for name in SIMULATIONS:
        own = [s for s in scores if s.simulation == name]
        if own:
            rows[name] = (
                _median([s.nse for s in own]),
                _median([s.kge for s in own]),
                100 * _median([s.peak_error for s in own]),
                sum(s.nse < 0 for s in own),
            )
    rivers = len({s.basin for s in scores})
    return MetricTable(
        title=f"Over {rivers} rivers {_unseen(scores)} ({_task(lead_days)})",
        columns=("median NSE", "median KGE", "median peak error [%]", "rivers with NSE below 0"),
        rows=rows,
        better=("higher", "higher", "lower", "lower"),
    )


def by_river(scores: Sequence[Score], lead_days: int) -> MetricTable:
    """A row for each river and simulation; the scores are all of trained rivers, or all of others."""
    seasons = "the training years' mean" if scores[0].trained else "the mean over the rivers trained on"
    return MetricTable(
        title=f"Rivers {_unseen(scores)} ({_task(lead_days)})",
        columns=("NSE", "KGE", "peak error [%]", "days"),
        rows={f"{s.basin}: {s.simulation}": (s.nse, s.kge, 100 * s.peak_error, s.days) for s in scores},
        better=("higher", "higher", "lower", ""),
        note="Peak error: mean relative error on the days of the highest 2 % of observed discharge. "
        f"Persistence: the discharge of {max(lead_days, 1)} day(s) before. Climatology: {seasons} "
        "of the season. The weather up to the day itself is taken as known.",
    )


def hydrograph(basin: str, river: pl.DataFrame) -> Hydrograph:
    """One river over the test period: columns date, observed, `SIMULATIONS` and, where known, precipitation."""
    rain = river["precipitation"].to_list() if "precipitation" in river.columns else ()
    return Hydrograph(
        title=basin,
        unit="mm/day",
        times=[day.isoformat() for day in river["date"]],
        observed=river["observed"].to_list(),
        simulated={name: river[name].to_list() for name in SIMULATIONS if river[name].count()},
        precipitation=rain,
    )


def _unseen(scores: Sequence[Score]) -> str:
    return "in years the model has not seen" if scores[0].trained else "the model was not trained on"


def _task(lead_days: int) -> str:
    return f"forecast {lead_days} day{'s' * (lead_days > 1)} ahead" if lead_days else "simulation from weather alone"


def _median(values: list[float]) -> float:
    known = [value for value in values if not isnan(value)]
    return median(known) if known else float("nan")
