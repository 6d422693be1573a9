"""Models side by side, against the baseline, and what the report gets to draw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deeprc import journal
from deeprc.errors import DataError, SpecError
from deeprc.workloads.forecasting import BASELINE, Forecast, ForecastSpec, evaluate
from deeprc.workloads.forecasting.forecast import backtest_of
from deeprc.workloads.forecasting.panel import read_panel
from tests.workloads.forecasting.series import HORIZON, SETTINGS, hourly

SPEC = ForecastSpec(**SETTINGS)


def _forecast(model: str, error: float) -> Forecast:
    """A forecast that is wrong by `error` everywhere."""
    panel = read_panel(hourly(), SPEC)
    predicted = panel.last(SPEC.test_rows)[1] + error
    return backtest_of(panel, SPEC, model, predicted, seconds=1.5, ranks=1)


@pytest.fixture
def artifacts(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is recorded while a test runs."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(journal.recorder, "_sink", lambda kind, fields: found.append(fields))
    return found


def test_the_best_comes_first_and_the_baseline_is_among_them() -> None:
    """Models and the baseline in the order of their MASE, each with all metrics."""
    scores = evaluate([_forecast("LSTM", 9.0), _forecast("NHITS", 0.01)])
    assert list(scores) == ["NHITS", BASELINE, "LSTM"]
    assert scores["LSTM"]["MAE"] == pytest.approx(9.0)
    assert set(scores[BASELINE]) == {"MAE", "RMSE", "sMAPE", "MASE"}


def test_the_report_gets_a_table_and_a_plot_for_each_series(artifacts: list[dict[str, Any]]) -> None:
    """One table of all models, and of each series what happened, every model and the cutoff."""
    evaluate([_forecast("LSTM", 1.0)], title="Departures", unit="flights")
    table, *plots = artifacts
    assert table["type"] == "MetricTable"
    assert table["content"]["columns"][0] == "MAE [flights]"
    assert table["content"]["rows"]["LSTM"][-1] == 1.5
    assert [plot["content"]["title"] for plot in plots] == ["Departures: east", "Departures: west"]
    content = plots[0]["content"]
    seen = content["times"].index(content["cutoff"]) + 1
    assert content["times"][seen] == "2013-01-05T12:00:00"
    assert len(content["times"]) == len(content["actual"]) == seen + 2 * HORIZON
    for line in content["forecasts"].values():
        assert line[:seen] == [None] * seen
        assert None not in line[seen:]
    assert set(content["forecasts"]) == {"LSTM", BASELINE}


def test_plots_are_limited(artifacts: list[dict[str, Any]]) -> None:
    """A run of thousands of series does not draw them all."""
    evaluate([_forecast("LSTM", 1.0)], max_plots=1)
    assert [each["type"] for each in artifacts] == ["MetricTable", "ForecastPlot"]


def test_what_cannot_be_compared_is_refused() -> None:
    """No forecasts, one model twice, other series or other times."""
    one = _forecast("LSTM", 1.0)
    with pytest.raises(SpecError, match="no forecasts"):
        evaluate([])
    with pytest.raises(SpecError, match="LSTM is among"):
        evaluate([one, one])
    for other in (
        replace(one, model="GRU", series=("east", "north")),
        replace(one, model="GRU", times=one.times + np.timedelta64(1, "h")),
    ):
        with pytest.raises(DataError, match="different series or times"):
            evaluate([one, other])
