"""The model against what costs nothing: yesterday's discharge, and that of the season."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs

from deeprc.errors import DataError, SpecError
from deeprc.journal import record_artifact
from deeprc.spec.imports import imports
from deeprc.training.keras import IMPORTS
from deeprc.workloads.hydrology.baselines import climatology, persistence
from deeprc.workloads.hydrology.samples import checked_frame
from deeprc.workloads.hydrology.scores import SIMULATIONS, HydrologyResult, Score, score_river
from deeprc.workloads.hydrology.scores_shown import by_river, hydrograph, medians
from deeprc.workloads.hydrology.setup import count_back

if TYPE_CHECKING:
    from deeprc.bridge import Dataset
    from deeprc.workloads.hydrology.model import RiverModel

SUMMARISED = 5
"""The number of rivers from which on their medians are told too."""


@imports(*IMPORTS)
def evaluate(model: RiverModel, data: Dataset | pl.DataFrame, *, max_plots: int = 100) -> HydrologyResult:
    """Score the model and both baselines on the test period of every river of `data`.

    All three are scored on the same days. With a shared scale, rivers that the model was not trained on are scored too:
    their climatology is that of the rivers it was trained on, as far as these are among the data; where the model has
    no test years, all their days count. Leaves tables of metrics, apart for both kinds of rivers, and hydrographs of at
    most `max_plots` rivers, the first ones by name, in the journal.

    Raises:
        DataError: data or weights that the model cannot use.
        SpecError: the model kept no test years, and was trained on all rivers of the data.
    """
    simulated = simulations(model, data)
    scores: list[Score] = []
    for number, ((name,), river) in enumerate(simulated.group_by("basin", maintain_order=True)):
        basin = str(name)
        scores += score_river(basin, river, trained=basin in model.periods)
        if number < max_plots:
            record_artifact(hydrograph(basin, river))
    lead = model.setup.lead_days
    for group in ([s for s in scores if s.trained], [s for s in scores if not s.trained]):
        if len({score.basin for score in group}) >= SUMMARISED:
            record_artifact(medians(group, lead))
        if group:
            record_artifact(by_river(group, lead))
    return HydrologyResult(tuple(scores), lead)


def simulations(model: RiverModel, data: Dataset | pl.DataFrame) -> pl.DataFrame:
    """Observed and simulated discharge of the test period of every river whose discharge is known on any day.

    Returns:
        basin, date, observed, LSTM, persistence, climatology, and precipitation where the data have it.
    """
    frame = checked_frame(data, model.setup)
    first_days = _first_test_days(frame, model)
    target = pl.col(model.setup.target)
    wanted = [pl.col("basin", "date"), target.alias("observed"), pl.col(SIMULATIONS)]
    training = _training_days(frame, model)
    known = frame.join(model.predict(data), on=["basin", "date"], how="left").sort("basin", "date")
    parts = []
    for (name,), river in known.filter(pl.col("basin").is_in(list(first_days))).group_by("basin", maintain_order=True):
        basin = str(name)
        with_baselines = river.with_columns(
            persistence(river, model.setup.target, max(model.setup.lead_days, 1)),
            climatology(
                river, training.filter(basin=basin) if basin in model.periods else training, model.setup.target
            ),
        )
        test = with_baselines.filter(pl.col("date") >= first_days[basin])
        parts.append(test.select(*wanted, cs.by_name("precipitation", require_all=False)))
    return pl.concat(parts)


def _first_test_days(frame: pl.DataFrame, model: RiverModel) -> dict[str, date]:
    """The first day that is scored of each river of which one can be."""
    rivers = count_back(frame, model.setup)
    if not rivers:
        raise DataError(f"no river of the data has a known {model.setup.target}: there is nothing to score on")
    if not model.setup.test_years:
        days = {
            basin: periods.first
            for basin, periods in rivers.items()
            if basin not in model.periods and model.scaling.others
        }
        if not days:
            raise SpecError("a model with test_years=0 has seen all years: nothing is left to score it on")
        return days
    return {basin: model.periods.get(basin, periods).test_from for basin, periods in rivers.items()}


def _training_days(frame: pl.DataFrame, model: RiverModel) -> pl.DataFrame:
    """The days of all rivers that the model was trained on."""
    until = {basin: periods.validation_from for basin, periods in model.periods.items()}
    return frame.filter(pl.col("date") < pl.col("basin").replace_strict(until, default=None, return_dtype=pl.Date))
