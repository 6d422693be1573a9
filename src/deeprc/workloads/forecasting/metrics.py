"""Errors of a forecast, and the forecast that every model has to beat.

Definitions: R. J. Hyndman and A. B. Koehler, "Another look at measures of forecast accuracy", International
Journal of Forecasting 22 (2006); sMAPE as in the M4 competition (0 to 200 %).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

METRICS = ("MAE", "RMSE", "sMAPE", "MASE")


def mae(actual: Array, predicted: Array) -> float:
    """Mean absolute error, in the unit of the series."""
    return float(np.mean(np.abs(actual - predicted)))


def rmse(actual: Array, predicted: Array) -> float:
    """Root of the mean squared error, in the unit of the series."""
    return float(np.sqrt(np.mean((actual - predicted) ** 2)))


def smape(actual: Array, predicted: Array) -> float:
    """Symmetric mean absolute percentage error, 0 to 200 %; a zero forecast as zero is no error."""
    size = np.abs(actual) + np.abs(predicted)
    ratio = np.divide(np.abs(actual - predicted), size, out=np.zeros_like(size), where=size > 0)
    return float(200.0 * np.mean(ratio))


def naive_scale(history: Array, season_length: int) -> float:
    """Mean absolute change from one season to the next in the rows trained on: what MASE divides by."""
    return float(np.mean(np.abs(history[season_length:] - history[:-season_length])))


def mase(actual: Array, predicted: Array, scale: float) -> float:
    """Mean absolute error over `naive_scale`: below 1 beats the seasonal naive forecast. NaN if the scale is 0."""
    return mae(actual, predicted) / scale if scale > 0 else float("nan")


def seasonal_naive(values: Array, *, horizon: int, windows: int, season_length: int) -> Array:
    """The last season before each window, repeated over it.

    `values` is a whole series; returns the forecast (windows * horizon,) of its last rows.
    """
    step = np.arange(horizon)
    back = season_length * (step // season_length + 1)
    starts = len(values) - horizon * np.arange(windows, 0, -1)
    forecast: Array = values[starts[:, None] + step - back].reshape(-1)
    return forecast


def score(actual: Array, predicted: Array, scale: float) -> dict[str, float]:
    """All metrics of one series, by name; NaN where nothing was forecast."""
    if not actual.size:
        return dict.fromkeys(METRICS, float("nan"))
    return {
        "MAE": mae(actual, predicted),
        "RMSE": rmse(actual, predicted),
        "sMAPE": smape(actual, predicted),
        "MASE": mase(actual, predicted, scale),
    }


def mean_over_series(scores: list[dict[str, float]]) -> dict[str, float]:
    """Each metric's mean over the series for which it is defined; NaN where it is for none."""
    means = {}
    for name in METRICS:
        known = [each[name] for each in scores if np.isfinite(each[name])]
        means[name] = float(np.mean(known)) if known else float("nan")
    return means
