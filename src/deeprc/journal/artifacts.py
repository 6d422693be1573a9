"""What a task can leave for the report: tables of metrics, forecasts, hydrographs.

Each is plain data. `record_artifact` keeps it in the run directory as JSON; the report draws it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deeprc.journal.recorder import record

Number = float | int | None


@dataclass(frozen=True)
class MetricTable:
    """One row of numbers for each subject: a model, a river.

    `columns` are metric names with their unit where they have one ("MAE [departures]"); `rows` maps a subject
    to one value for each column. `better` says for each column whether "lower" or "higher" is better, or "".
    `timings` names the columns that a clock gave: no two runs agree in them, and they are not compared as results.
    """

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Number]]
    better: Sequence[str] = ()
    note: str = ""
    timings: Sequence[str] = ()


@dataclass(frozen=True)
class ForecastPlot:
    """Actual values and each model's forecast of them, for one series.

    `times` are ISO 8601; `actual` and each of `forecasts` have one value for each time (None where absent).
    `cutoff` is the last time the models had seen.
    """

    title: str
    unit: str
    times: Sequence[str]
    actual: Sequence[Number]
    forecasts: Mapping[str, Sequence[Number]]
    cutoff: str = ""


@dataclass(frozen=True)
class Hydrograph:
    """Observed and simulated discharge of one river over a test period, with precipitation where known."""

    title: str
    unit: str
    times: Sequence[str]
    observed: Sequence[Number]
    simulated: Mapping[str, Sequence[Number]]
    precipitation: Sequence[Number] = ()
    precipitation_unit: str = "mm/day"


Artifact = MetricTable | ForecastPlot | Hydrograph


def record_artifact(artifact: Artifact) -> None:
    """Leave an artifact of the running task in the run's journal."""
    record("artifact", type=type(artifact).__name__, content=_plain(asdict(artifact)))


def _plain(value: Any) -> Any:
    """Tuples to lists and NumPy numbers to Python's: what JSON holds. NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
