"""How well simulations follow rivers."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from deeprc.workloads.hydrology import metrics

SIMULATIONS = ("LSTM", "persistence", "climatology")


@dataclass(frozen=True)
class Score:
    """How well one simulation follows one river over the test period.

    `days` were scored: those with an observed discharge and all simulations. `trained` tells whether the model was
    trained on other years of the river. See `metrics` for the rest.
    """

    basin: str
    simulation: str
    days: int
    nse: float
    kge: float
    peak_error: float
    trained: bool = True


@dataclass(frozen=True)
class HydrologyResult:
    """Scores of every river and simulation, on days the model was not trained on."""

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


def score_river(basin: str, river: pl.DataFrame, *, trained: bool) -> list[Score]:
    """The scores of one river's simulations, all on the same days; one without a value on any day has none.

    `river` has the columns observed and `SIMULATIONS` [the same unit], null where there is no value.
    """
    present = [name for name in SIMULATIONS if river[name].count()]
    days = river.drop_nulls(("observed", *present))
    observed = days["observed"].to_numpy()
    return [
        Score(
            basin,
            name,
            days.height,
            metrics.nse(observed, days[name].to_numpy()),
            metrics.kge(observed, days[name].to_numpy()).value,
            metrics.peak_error(observed, days[name].to_numpy()),
            trained,
        )
        for name in present
    ]
