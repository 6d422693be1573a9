"""The model against what costs nothing: yesterday's discharge, and that of the season."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from statistics import median
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs

from deeprc.errors import SpecError
from deeprc.journal import Hydrograph, MetricTable, record_artifact
from deeprc.spec.imports import imports
from deeprc.training.keras import IMPORTS
from deeprc.workloads.hydrology import metrics
from deeprc.workloads.hydrology.baselines import climatology, persistence

if TYPE_CHECKING:
    from deeprc.bridge import Dataset
    from deeprc.workloads.hydrology.model import RiverModel

SUMMARISED = 5
"""The number of rivers from which on their medians are told too."""

SIMULATIONS = ("LSTM", "persistence", "climatology")


@dataclass(frozen=True)
class Score:
    """How well one simulation follows one river over the test period.

    `days` were scored: those with an observed discharge and all simulations. See `metrics` for the rest.
    """

    basin: str
    simulation: str
    days: int
    nse: float
    kge: float
    peak_error: float


@dataclass(frozen=True)
class HydrologyResult:
    """Scores of every river and simulation, on years the model has not seen."""

    scores: tuple[Score, ...]
    lead_days: int

    def __str__(self) -> str:
        return ", ".join(f"{s.basin} NSE {s.nse:.3f}" for s in self.scores if s.simulation == "LSTM")

    def score(self, basin: str, simulation: str = "LSTM") -> Score:
        """The score of one simulation of one river.

        Raises:
            KeyError: there is none.
        """
        for score in self.scores:
            if (score.basin, score.simulation) == (basin, simulation):
                return score
        raise KeyError((basin, simulation))


@imports(*IMPORTS)
def evaluate(model: RiverModel, data: Dataset | pl.DataFrame, *, max_plots: int = 100) -> HydrologyResult:
    """Score the model and both baselines on the test period of every river of `data`.

    All three are scored on the same days. Leaves tables of metrics and hydrographs of at most `max_plots` rivers, the
    first ones by name, in the journal.

    Raises:
        DataError: data or weights that the model cannot use.
        SpecError: the model kept no test years.
    """
    if not model.setup.test_years:
        raise SpecError("a model with test_years=0 has seen all years: nothing is left to score it on")
    simulated = simulations(model, data)
    scores = []
    for (basin,), river in simulated.group_by("basin", maintain_order=True):
        scored = river.drop_nulls(("observed", *SIMULATIONS))
        scores += [_score(str(basin), name, scored) for name in SIMULATIONS]
        if len(scores) <= max_plots * len(SIMULATIONS):
            record_artifact(_hydrograph(str(basin), river, model))
    if len(scores) >= SUMMARISED * len(SIMULATIONS):
        record_artifact(_summary(scores, model))
    record_artifact(_table(scores, model))
    return HydrologyResult(tuple(scores), model.setup.lead_days)


def simulations(model: RiverModel, data: Dataset | pl.DataFrame) -> pl.DataFrame:
    """Observed and simulated discharge of the test period.

    Returns:
        basin, date, observed, LSTM, persistence, climatology, and precipitation where the data have it.
    """
    frame = data if isinstance(data, pl.DataFrame) else data.to_polars()
    target = pl.col(model.setup.target)
    wanted = [pl.col("basin", "date"), target.alias("observed"), pl.col(SIMULATIONS)]
    known = frame.join(model.predict(data), on=["basin", "date"], how="left").sort("basin", "date")
    parts = []
    for (basin,), river in known.group_by("basin", maintain_order=True):
        periods = model.periods[str(basin)]
        with_baselines = river.with_columns(
            persistence(river, model.setup.target, max(model.setup.lead_days, 1)),
            climatology(river, model.setup.target, before=periods.validation_from),
        )
        test = with_baselines.filter(pl.col("date") >= periods.test_from)
        parts.append(test.select(*wanted, cs.by_name("precipitation", require_all=False)))
    return pl.concat(parts)


def _score(basin: str, simulation: str, river: pl.DataFrame) -> Score:
    observed, simulated = river["observed"].to_numpy(), river[simulation].to_numpy()
    return Score(
        basin,
        simulation,
        river.height,
        metrics.nse(observed, simulated),
        metrics.kge(observed, simulated).value,
        metrics.peak_error(observed, simulated),
    )


def _summary(scores: list[Score], model: RiverModel) -> MetricTable:
    """Medians over the rivers: what studies of many catchments report."""
    rows = {}
    for name in SIMULATIONS:
        own = [s for s in scores if s.simulation == name]
        rows[name] = (
            _median([s.nse for s in own]),
            _median([s.kge for s in own]),
            100 * _median([s.peak_error for s in own]),
            sum(s.nse < 0 for s in own),
        )
    return MetricTable(
        title=f"Over {len(scores) // len(SIMULATIONS)} rivers in years the model has not seen ({_task(model)})",
        columns=("median NSE", "median KGE", "median peak error [%]", "rivers with NSE below 0"),
        rows=rows,
        better=("higher", "higher", "lower", "lower"),
    )


def _median(values: list[float]) -> float:
    known = [value for value in values if not isnan(value)]
    return median(known) if known else float("nan")


def _task(model: RiverModel) -> str:
    lead = model.setup.lead_days
    return f"forecast {lead} day{'s' * (lead > 1)} ahead" if lead else "simulation from weather alone"


def _table(scores: list[Score], model: RiverModel) -> MetricTable:
    lead = model.setup.lead_days
    return MetricTable(
        title=f"Rivers in years the model has not seen ({_task(model)})",
        columns=("NSE", "KGE", "peak error [%]", "days"),
        rows={f"{s.basin}: {s.simulation}": (s.nse, s.kge, 100 * s.peak_error, s.days) for s in scores},
        better=("higher", "higher", "lower", ""),
        note="Peak error: mean relative error on the days of the highest 2 % of observed discharge. "
        f"Persistence: the discharge of {max(lead, 1)} day(s) before. Climatology: the training years' mean "
        "of the season. The weather up to the day itself is taken as known.",
    )


def _hydrograph(basin: str, river: pl.DataFrame, model: RiverModel) -> Hydrograph:
    rain = river["precipitation"].to_list() if "precipitation" in river.columns else ()
    return Hydrograph(
        title=basin,
        unit="mm/day",
        times=[day.isoformat() for day in river["date"]],
        observed=river["observed"].to_list(),
        simulated={name: river[name].to_list() for name in SIMULATIONS},
        precipitation=rain,
    )
