"""All models of one backtest side by side, against the seasonal naive forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deeprc.errors import DataError, SpecError
from deeprc.journal import ForecastPlot, MetricTable, record_artifact
from deeprc.workloads.forecasting.forecast import Forecast
from deeprc.workloads.forecasting.metrics import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

BASELINE = "SeasonalNaive"

_TRAINING = "training [s]"


def evaluate(
    forecasts: Sequence[Forecast], *, title: str = "Forecast backtest", unit: str = "", max_plots: int = 6
) -> dict[str, dict[str, float]]:
    """Metrics by model, best MASE first, the baseline among them; leaves a table and plots for the report.

    Args:
        forecasts: of different models over the same series and times.
        title: of the table, and before each series' name over its plot.
        unit: of y.
        max_plots: the number of series to draw, the first ones by name.

    Raises:
        SpecError: no forecasts, or two of one model.
        DataError: forecasts of different series or times.
    """
    _check_comparable(forecasts)
    first = forecasts[0]
    scores = {each.model: each.metrics for each in forecasts} | {BASELINE: first.baseline_metrics}
    ranked = dict(sorted(scores.items(), key=lambda item: (np.isnan(item[1]["MASE"]), item[1]["MASE"])))
    record_artifact(_table(ranked, forecasts, title, unit))
    for index in range(min(max_plots, len(first.series))):
        record_artifact(_plot(forecasts, index, title, unit))
    return ranked


def _check_comparable(forecasts: Sequence[Forecast]) -> None:
    if not forecasts:
        raise SpecError("no forecasts to evaluate: pass the results of `fit`")
    models = [each.model for each in forecasts]
    for model in models:
        if models.count(model) > 1:
            raise SpecError(f"{model} is among the forecasts more than once; evaluate one of each model")
    first = forecasts[0]
    if not first.actual.size:
        raise SpecError(f"{first.model} was fitted with windows=0: no row was kept to score it on")
    for each in forecasts[1:]:
        if each.series != first.series or not np.array_equal(each.times, first.times):
            raise DataError(
                f"{each.model} and {first.model} forecast different series or times; evaluate together what was "
                "fitted to the same data with the same horizon and windows"
            )


def _table(scores: dict[str, dict[str, float]], forecasts: Sequence[Forecast], title: str, unit: str) -> MetricTable:
    first = forecasts[0]
    units = {"MAE": unit, "RMSE": unit, "sMAPE": "%"}
    seconds = {each.model: each.seconds for each in forecasts}
    return MetricTable(
        title=title,
        columns=[*(f"{name} [{units[name]}]" if units.get(name) else name for name in METRICS), _TRAINING],
        rows={model: [*(row[name] for name in METRICS), seconds.get(model)] for model, row in scores.items()},
        better=["lower"] * (len(METRICS) + 1),
        timings=[_TRAINING],
        note=f"Means over {len(first.series)} series; {first.actual.shape[1]} rows of each kept from training, "
        f"forecast {first.horizon} at a time. MASE below 1 beats the seasonal naive forecast of one step.",
    )


def _plot(forecasts: Sequence[Forecast], index: int, title: str, unit: str) -> ForecastPlot:
    first = forecasts[0]
    unseen: list[float | None] = [None] * first.recent.shape[1]
    lines = {each.model: each.predicted[index] for each in forecasts} | {BASELINE: first.baseline[index]}
    return ForecastPlot(
        title=f"{title}: {first.series[index]}",
        unit=unit,
        times=[*iso_times(first.recent_times[index]), *iso_times(first.times[index])],
        actual=[*first.recent[index].tolist(), *first.actual[index].tolist()],
        forecasts={model: [*unseen, *values.tolist()] for model, values in lines.items()},
        cutoff=iso_times(first.recent_times[index])[-1],
    )


def iso_times(times: NDArray[Any]) -> list[str]:
    """Times as ISO 8601, without fractions of seconds where there are none; integers as they are."""
    if np.issubdtype(times.dtype, np.datetime64):
        whole_seconds = times.astype("datetime64[s]") if (times == times.astype("datetime64[s]")).all() else times
        return [str(each) for each in np.datetime_as_string(whole_seconds)]
    return [str(each) for each in times]
