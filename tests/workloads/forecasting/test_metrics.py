"""Metrics against values worked out by hand, and what holds for any series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deeprc.workloads.forecasting import metrics

ACTUAL, PREDICTED = np.array([2.0, 4.0, 0.0]), np.array([3.0, 2.0, 0.0])
values = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
series = st.integers(1, 30).flatmap(
    lambda n: st.tuples(arrays(float, n, elements=values), arrays(float, n, elements=values))
)


def test_metrics_by_hand() -> None:
    """Errors of 1, 2 and 0 on 2, 4 and 0."""
    assert metrics.mae(ACTUAL, PREDICTED) == 1.0
    assert metrics.rmse(ACTUAL, PREDICTED) == pytest.approx(math.sqrt(5 / 3))
    assert metrics.smape(ACTUAL, PREDICTED) == pytest.approx(200 * (1 / 5 + 2 / 6 + 0) / 3)
    # Two rows apart: |5-1|, |2-2|, |9-5| -> 8/3.
    scale = metrics.naive_scale(np.array([1.0, 2.0, 5.0, 2.0, 9.0]), 2)
    assert scale == pytest.approx(8 / 3)
    assert metrics.mase(ACTUAL, PREDICTED, scale) == pytest.approx(3 / 8)


def test_mase_of_a_series_that_never_changed_is_left_out_of_the_mean() -> None:
    """Where the scale is zero MASE is not defined, and the mean is over the other series."""
    flat = metrics.score(ACTUAL, PREDICTED, 0.0)
    assert math.isnan(flat["MASE"])
    assert metrics.mean_over_series([flat, metrics.score(ACTUAL, PREDICTED, 0.5)])["MASE"] == 2.0
    assert math.isnan(metrics.mean_over_series([flat])["MASE"])


def test_seasonal_naive_by_hand() -> None:
    """Each window repeats the season before it, also when it is longer than a season."""
    history = np.arange(10.0)
    naive = metrics.seasonal_naive(history, horizon=2, windows=2, season_length=3)
    assert naive.tolist() == [3, 4, 5, 6]
    assert metrics.seasonal_naive(history, horizon=5, windows=1, season_length=2).tolist() == [3, 4, 3, 4, 3]


@given(series)
def test_bounds(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """sMAPE lies in 0 to 200 and treats over and under alike; RMSE is never below MAE; no error is zero."""
    actual, predicted = pair
    assert 0 <= metrics.smape(actual, predicted) <= 200 + 1e-9
    assert metrics.smape(actual, predicted) == pytest.approx(metrics.smape(predicted, actual))
    assert metrics.rmse(actual, predicted) >= metrics.mae(actual, predicted) * (1 - 1e-9)
    assert set(metrics.score(actual, actual, 1.0).values()) == {0.0}


@given(arrays(float, st.integers(20, 40), elements=values), st.integers(1, 6), st.integers(1, 3), st.integers(1, 5))
def test_naive_sees_nothing_of_the_window_it_forecasts(
    history: np.ndarray, horizon: int, windows: int, season: int
) -> None:
    """Changing the last window changes no forecast; a periodic series is forecast without error."""
    if season + horizon * windows > len(history):
        return
    naive = metrics.seasonal_naive(history, horizon=horizon, windows=windows, season_length=season)
    changed = history.copy()
    changed[-horizon:] += 1.0
    again = metrics.seasonal_naive(changed, horizon=horizon, windows=windows, season_length=season)
    assert np.array_equal(naive, again)
    periodic = np.resize(history[:season], len(history))
    same = metrics.seasonal_naive(periodic, horizon=horizon, windows=windows, season_length=season)
    assert np.array_equal(same, periodic[-horizon * windows :])


@given(series, st.floats(0.1, 100))
def test_mase_does_not_depend_on_the_unit(pair: tuple[np.ndarray, np.ndarray], factor: float) -> None:
    """MASE of a series in other units is the same."""
    actual, predicted = pair
    assert metrics.mase(actual * factor, predicted * factor, 2.0 * factor) == pytest.approx(
        metrics.mase(actual, predicted, 2.0), rel=1e-6
    )
