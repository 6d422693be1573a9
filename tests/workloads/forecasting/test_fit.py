"""Each of the eleven models trains and forecasts as a task."""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import deeprc as rc
from deeprc.communicator import SoloCommunicator
from deeprc.errors import DataError, SpecError, TaskFailedError
from deeprc.spec.signature import communicator_parameter
from deeprc.workloads.forecasting import MODELS, Forecast, fit
from tests.ranks import run_on_ranks
from tests.training.stopped import stopped_and_resumed
from tests.workloads.forecasting.series import HORIZON, SETTINGS, hourly

# With dropout, which each rank draws for itself; these options turn it off.
DROPOUT = {"iTransformer": ("dropout",), "PatchTST": ("dropout", "fc_dropout")}
EXACT = tuple(model for model in MODELS if model not in DROPOUT)


def test_there_are_eleven_models() -> None:
    """The models are those that the project promises."""
    assert set(MODELS) == {
        *("NBEATS", "NHITS", "LSTM", "GRU", "TCN", "DeepAR", "iTransformer", "VanillaTransformer"),
        *("Autoformer", "FEDformer", "PatchTST"),
    }


@pytest.mark.parametrize("model", MODELS)
def test_a_model_forecasts_the_rows_kept_from_it(model: str) -> None:
    """Every model gives one finite value for each series and row of the backtest, and has not seen the last."""
    data = hourly()
    forecast = fit(data, model, **SETTINGS)
    assert forecast.series == ("east", "west")
    assert forecast.predicted.shape == forecast.actual.shape == (2, 2 * HORIZON)
    assert np.isfinite(forecast.predicted).all()
    assert np.array_equal(forecast.actual[0], data.filter(pl.col("unique_id") == "east")["y"][-2 * HORIZON :])
    altered = data.with_columns(
        pl.when(pl.int_range(pl.len()).over("unique_id") >= 120 - HORIZON).then(0.0).otherwise("y").alias("y")
    )
    assert np.array_equal(fit(altered, model, **SETTINGS).predicted, forecast.predicted)


def test_the_seed_decides() -> None:
    """The same seed gives the same forecast, another seed another; what ran before does not matter."""
    first = fit(hourly(), "NHITS", **SETTINGS).predicted
    other = fit(hourly(), "NHITS", **SETTINGS, seed=2).predicted
    assert np.array_equal(first, fit(hourly(), "NHITS", **SETTINGS).predicted)
    assert not np.array_equal(first, other)


def test_training_improves_the_forecast() -> None:
    """Some hundred steps beat the seasonal naive forecast, two steps do not."""
    settings = {**SETTINGS, "learning_rate": 3e-3}
    trained = fit(hourly(400), "NBEATS", **{**settings, "max_steps": 300})
    assert trained.metrics["MASE"] < trained.baseline_metrics["MASE"]
    assert trained.metrics["MASE"] < fit(hourly(400), "NBEATS", **settings).metrics["MASE"]


@pytest.mark.parametrize("size", [{"horizon": 1}, {"horizon": 1, "lookback": 4}, {"horizon": 30, "lookback": 2}])
def test_any_horizon_and_lookback_will_do(size: dict[str, int]) -> None:
    """Every model takes the shortest horizon and lookback, and a lookback shorter than the horizon."""
    for model in MODELS:
        assert np.isfinite(fit(hourly(), model, **{**SETTINGS, **size, "max_steps": 1}).predicted).all(), model


def test_a_fit_leaves_no_seed_to_the_next_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's seeds in the environment, which decide later shuffles, are as they were."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "77")
    monkeypatch.delenv("PL_SEED_WORKERS", raising=False)
    fit(hourly(), "NHITS", **SETTINGS)
    assert os.environ["PL_GLOBAL_SEED"] == "77"
    assert "PL_SEED_WORKERS" not in os.environ


def test_a_forecast_travels() -> None:
    """A forecast survives pickling whole."""
    forecast = fit(hourly(), "NHITS", **SETTINGS)
    again: Forecast = pickle.loads(pickle.dumps(forecast))
    assert again.metrics == forecast.metrics
    assert np.array_equal(again.times, forecast.times)


def test_series_may_differ_in_length_and_start() -> None:
    """A model of single series takes series of any length; one of all series together takes what they share."""
    long, short = hourly(150, ("long",)), hourly(150, ("short",)).tail(90)
    data = pl.concat([long, short])
    for model in ("NHITS", "iTransformer"):
        assert np.isfinite(fit(data, model, **SETTINGS).predicted).all()


def test_a_multivariate_model_refuses_series_that_end_apart() -> None:
    """Series of different ends cannot be read together; the refusal names one."""
    data = pl.concat([hourly(150, ("long",)), hourly(120, ("early",))])
    with pytest.raises(DataError, match=r"'long'.*same times"):
        fit(data, "iTransformer", **SETTINGS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "NBEAT"}, "Did you mean 'NBEATS'"),
        ({"horizon": 0}, "horizon=0"),
        ({"lookback": 1}, "lookback=1: must be a whole number, at least 2"),
        ({"learning_rate": "1e-3"}, "must be a number"),
        ({"learning_rate": 0}, "must be a positive number"),
        ({"options": ["mlp_units"]}, "must map names"),
        ({"scaler": "standrd"}, "Did you mean 'standard'"),
        ({"options": {"mlp_unit": 3}}, "Did you mean 'mlp_units'"),
        ({"options": {"max_steps": 3}}, "no option 'max_steps'"),
    ],
)
def test_wrong_settings_are_refused_with_valid_ones(change: dict[str, Any], message: str) -> None:
    """What is wrong is named before any training, with what would be right."""
    with pytest.raises(SpecError, match=message):
        fit(hourly(), **{"model": "NHITS", **SETTINGS, **change})


def test_wrong_settings_are_refused_when_submitted() -> None:
    """The check that runs at submit refuses an unknown model while the data are still being made."""
    check: Any = fit.__deeprc_check__  # type: ignore[attr-defined]
    check({"model": "NHITS", "horizon": 3, "comm": None})
    with pytest.raises(SpecError, match="Did you mean 'DeepAR'"):
        check({"model": "DeepRA"})
    with pytest.raises(SpecError, match="max_steps=0"):
        check({"max_steps": 0})
    with rc.Session(cores=1) as session, pytest.raises(SpecError, match="Did you mean 'GRU'"):
        session.submit(fit, hourly(), "GRUU", **SETTINGS)


def test_fit_takes_the_communicator() -> None:
    """The runtime finds the parameter to give the task's communicator to."""
    assert communicator_parameter(fit) == "comm"


def _fit_all(comm: rc.Communicator, models: tuple[str, ...], settings: dict[str, Any]) -> list[Any]:
    forecasts = [fit(hourly(), model, comm, **settings) for model in models]
    return [(each.predicted, each.ranks) for each in forecasts]


def test_two_ranks_forecast_as_one() -> None:
    """On two ranks, with the same global batches, every model without dropout forecasts as on one, to 1e-3."""
    ranks = run_on_ranks(_fit_all, EXACT, dict(SETTINGS), size=2)
    for index, model in enumerate(EXACT):
        (first, size), (second, _) = ranks[0][index], ranks[1][index]
        assert size == 2
        assert np.array_equal(first, second), model
        np.testing.assert_allclose(first, fit(hourly(), model, **SETTINGS).predicted, rtol=1e-3, err_msg=model)


@pytest.mark.parametrize("model", DROPOUT)
def test_without_their_dropout_the_others_forecast_on_two_ranks_as_on_one(model: str) -> None:
    """NeuralForecast's own sharding of multivariate windows, and batch normalisation, give the global batch too."""
    settings = {**SETTINGS, "options": dict.fromkeys(DROPOUT[model], 0.0)}
    ((together, _),), _ = run_on_ranks(_fit_all, (model,), settings, size=2)
    np.testing.assert_allclose(together, fit(hourly(), model, **settings).predicted, rtol=1e-3)


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    """Nine windows on two ranks: the refusal names batch sizes that fit."""
    with pytest.raises(TaskFailedError, match="use 8 or 10"):
        run_on_ranks(_fit_all, ("NHITS",), {**SETTINGS, "batch_size": 9}, size=2)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """A fit leaves the task's output to the user."""
    fit(hourly(), "LSTM", **SETTINGS)
    assert capfd.readouterr() == ("", "")
    assert run_on_ranks(_printed, size=2) == ["", ""]


def _printed(comm: rc.Communicator) -> str:
    with tempfile.TemporaryFile("w+") as file:
        kept = os.dup(1), os.dup(2)
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            fit(hourly(), "NHITS", comm, **SETTINGS)
        finally:
            for number, old in enumerate(kept, start=1):
                os.dup2(old, number)
        file.seek(0)
        return file.read()


def _fit_longer(comm: rc.Communicator) -> Any:
    return fit(hourly(), "NHITS", comm, **{**SETTINGS, "max_steps": 20}).predicted


def test_a_stopped_fit_goes_on_to_the_same_forecast(tmp_path: Path) -> None:
    """On two ranks; told in the midst of its steps, it is done in two parts, and forecasts as if in one."""
    whole = _fit_longer(SoloCommunicator())
    for told, predicted in run_on_ranks(stopped_and_resumed, _fit_longer, str(tmp_path), 2, size=2):
        assert told == "after 16 training steps"
        np.testing.assert_allclose(predicted, whole, rtol=1e-3)
