"""What a fitted model leaves: its forecasts of the rows kept from it, beside what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deeprc.workloads.forecasting.metrics import (
    mean_over_series,
    naive_scale,
    score,
    seasonal_naive,
)
from deeprc.workloads.forecasting.panel import Panel
from deeprc.workloads.forecasting.setup import ForecastSpec
from deeprc.workloads.forecasting.trained import TrainedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Forecast:
    """One model's backtest. Arrays are (series, windows * horizon), oldest row first, in the unit of y.

    `recent` and `recent_times` are the rows of each series just before its backtest, for plots. `scale` is what
    MASE divides by, one for each series. `seconds` is the time of training, `ranks` how many shared it. `trained`
    is the model, which `predict` takes.
    """

    model: str
    series: tuple[str, ...]
    horizon: int
    times: NDArray[Any]
    actual: NDArray[np.float64]
    predicted: NDArray[np.float64]
    baseline: NDArray[np.float64]
    scale: NDArray[np.float64]
    recent_times: NDArray[Any]
    recent: NDArray[np.float64]
    seconds: float = 0.0
    ranks: int = 1
    trained: TrainedModel | None = None

    def __str__(self) -> str:
        if not self.actual.size:
            return f"{self.model} trained on all rows of {len(self.series)} series"
        scores = ", ".join(f"{name} {value:.3g}" for name, value in self.metrics.items())
        return f"{self.model} of {len(self.series)} series: {scores}"

    @property
    def metrics(self) -> dict[str, float]:
        """MAE, RMSE, sMAPE [%] and MASE: each the mean over all series; NaN without a backtest."""
        return mean_over_series(list(self.metrics_by_series.values()))

    @property
    def metrics_by_series(self) -> dict[str, dict[str, float]]:
        """The same metrics for each series."""
        return self._scores(self.predicted)

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """The same metrics of the seasonal naive forecast."""
        return mean_over_series(list(self._scores(self.baseline).values()))

    def _scores(self, predicted: NDArray[np.float64]) -> dict[str, dict[str, float]]:
        return {name: score(self.actual[i], predicted[i], float(self.scale[i])) for i, name in enumerate(self.series)}


def backtest_of(
    panel: Panel,
    spec: ForecastSpec,
    model: str,
    predicted: NDArray[np.float64],
    *,
    seconds: float,
    ranks: int,
    trained: TrainedModel | None = None,
) -> Forecast:
    """Put a model's predictions (series, test rows) beside actual values and the baseline."""
    recent = min(spec.season_length * 2, spec.lookback)
    times, values = panel.last(spec.test_rows + recent)
    season = spec.season_length
    return Forecast(
        model=model,
        series=panel.names,
        horizon=spec.horizon,
        times=times[:, recent:],
        actual=values[:, recent:],
        predicted=predicted.astype(np.float64),
        baseline=np.stack(
            [
                seasonal_naive(each, horizon=spec.horizon, windows=spec.windows, season_length=season)
                for each in panel.values
            ]
        ),
        scale=np.array([naive_scale(each, season) for each in panel.without_last(spec.test_rows)]),
        recent_times=times[:, :recent],
        recent=values[:, :recent],
        seconds=seconds,
        ranks=ranks,
        trained=trained,
    )
