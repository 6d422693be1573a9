"""A trained model is kept, opened again, and forecasts what has not happened yet."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import deeprc as rc
from deeprc.communicator import SoloCommunicator
from deeprc.errors import DataError, SpecError
from deeprc.workloads.forecasting import MODELS, TrainedModel, fit, predict
from deeprc.workloads.forecasting.calendar import times_after
from deeprc.workloads.forecasting.models import READS, model_class
from tests.ranks import run_on_ranks
from tests.workloads.forecasting.series import HORIZON, SETTINGS, hourly


def _beside(data: pl.DataFrame) -> pl.DataFrame:
    hour = pl.col("ds").dt.hour().cast(pl.Float64)
    return data.with_columns(
        hour=hour, wind=pl.col("y") * 0.5, area=pl.when(unique_id="east").then(1.0).otherwise(7.0), open=hour > 12
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_model_read_from_its_file_forecasts_as_the_one_that_was_trained(model: str, tmp_path: Path) -> None:
    """The backtest's last window is what the model, opened later, forecasts from the rows before it."""
    forecast = fit(hourly(), model, path=tmp_path / "model.pt", **SETTINGS)
    trained = TrainedModel.open(tmp_path / "model.pt")
    assert trained == forecast.trained
    known_then = hourly().filter(pl.int_range(pl.len()).over("unique_id") < 120 - HORIZON)
    later = predict(trained, known_then)
    assert later.columns[:3] == ["unique_id", "ds", model]
    assert later["ds"].to_list()[:HORIZON] == list(forecast.times[0][-HORIZON:].tolist())
    # DeepAR draws its forecast from a distribution, other numbers for two windows than for one.
    tolerance = 0.3 if model == "DeepAR" else 1e-5
    ahead = later[model].to_numpy().reshape(2, -1)
    np.testing.assert_allclose(ahead, forecast.predicted[:, -HORIZON:], rtol=tolerance, err_msg=model)


def test_a_distribution_gives_its_bounds_too() -> None:
    """DeepAR's forecast comes with bounds around it, the same ones each time."""
    trained = fit(hourly(), "DeepAR", **SETTINGS).trained
    assert trained is not None
    frame = predict(trained, hourly())
    assert frame.equals(predict(trained.path, hourly()))
    low, high = (next(name for name in frame.columns if word in name and "90" in name) for word in ("-lo-", "-hi-"))
    assert frame.select(((pl.col(low) <= pl.col("DeepAR")) & (pl.col("DeepAR") <= pl.col(high))).all()).item()


def test_without_windows_all_rows_are_trained_on(tmp_path: Path) -> None:
    """windows=0: no backtest, a model of all rows, and a forecast of the rows after the last."""
    settings = {**SETTINGS, "windows": 0}
    fitted = fit(hourly(), "NHITS", **settings)
    assert fitted.actual.shape == (2, 0)
    assert np.isnan(fitted.metrics["MASE"])
    frame = predict([fitted, fit(hourly(), "PatchTST", **settings)], hourly(), path=tmp_path / "out" / "ahead.csv")
    assert frame["ds"][0] == hourly()["ds"].max() + timedelta(hours=1)  # type: ignore[operator]
    assert frame.columns == ["unique_id", "ds", "NHITS", "PatchTST"]
    assert pl.read_csv(tmp_path / "out" / "ahead.csv").shape == (2 * HORIZON, 4)


def test_what_is_said_of_columns_is_what_the_library_says() -> None:
    """The table of which model reads which columns is NeuralForecast's own."""
    words = {"future_columns": "FUTR", "past_columns": "HIST", "static_columns": "STAT"}
    for model in MODELS:
        able = tuple(kind for kind, word in words.items() if getattr(model_class(model), f"EXOGENOUS_{word}"))
        assert able == READS[model], model


@pytest.mark.parametrize("model", [model for model in MODELS if READS[model]])
def test_columns_beside_y_are_read(model: str) -> None:
    """Another value in a column that is named changes the forecast; in one that is not, it does not."""
    data = _beside(hourly())
    columns = {"future_columns": ["hour", "open"], "past_columns": ["wind"], "static_columns": ["area"]}
    named = {kind: names for kind, names in columns.items() if kind in READS[model]}
    first = fit(data, model, **SETTINGS, **named)
    assert np.array_equal(
        fit(data.with_columns(other=pl.col("y")), model, **SETTINGS, **named).predicted, first.predicted
    )
    for names in named.values():
        altered = data.with_columns(
            (pl.col(names[0]) * pl.col("y").abs().log1p()) if names != ["area"] else pl.lit(3.0).alias("area")
        )
        assert not np.array_equal(fit(altered, model, **SETTINGS, **named).predicted, first.predicted), names
    ahead = pl.concat(
        pl.DataFrame({"unique_id": name, "ds": [datetime(2013, 1, 6) + timedelta(hours=h) for h in range(HORIZON)]})
        for name in ("east", "west")
    ).with_columns(hour=pl.col("ds").dt.hour(), open=pl.col("ds").dt.hour() > 12)
    assert len(predict(first, data, ahead)) == 2 * HORIZON
    with pytest.raises(DataError, match=r"'west' lacks hour, open at 2013-01-06 05:00:00 \(1 of the 6"):
        predict(first, data, ahead.head(-1))
    with pytest.raises(DataError, match="give their values in the rows to forecast"):
        predict(first, data)


def test_columns_that_a_model_cannot_read_are_refused_with_models_that_can() -> None:
    """PatchTST reads nothing beside y: said when it is submitted, before the data are there."""
    with rc.Session(cores=1) as session, pytest.raises(SpecError, match=r"PatchTST reads no future_columns.*NHITS"):
        session.submit(fit, hourly(), "PatchTST", future_columns=["hour"])
    with pytest.raises(DataError, match="series 'east': area is static, but is"):
        fit(hourly().with_columns(area=pl.col("y")), "NHITS", **SETTINGS, static_columns=["area"])
    with pytest.raises(SpecError, match="must be a list of names"):
        fit(hourly(), "NHITS", **SETTINGS, past_columns="wind")


def _fit_beside(comm: rc.Communicator) -> Any:
    columns: dict[str, Any] = {"future_columns": ["hour"], "past_columns": ["wind"], "static_columns": ["area"]}
    fitted = fit(_beside(hourly()), "NHITS", comm, **SETTINGS, **columns)
    assert fitted.trained is not None
    return fitted.predicted, fitted.trained.path


def test_on_two_ranks_the_columns_are_shared_out_as_y_is() -> None:
    """The forecast from columns beside y is that of one rank, and both ranks name the one file of the model."""
    (first, path), (second, other) = run_on_ranks(_fit_beside, size=2)
    assert path == other
    assert np.array_equal(first, second)
    alone, _ = _fit_beside(SoloCommunicator())
    np.testing.assert_allclose(first, alone, rtol=1e-3)


def test_a_class_of_your_own_is_a_model(tmp_path: Path) -> None:
    """A class derived from NeuralForecast's, given itself or by file, is fitted, kept and opened again."""
    (tmp_path / "own.py").write_text("from neuralforecast.models import MLP\n\n\nclass Flat(MLP):\n    pass\n")
    fitted = fit(hourly(), f"{tmp_path}/own.py:Flat", **SETTINGS, options={"num_layers": 1})
    assert fitted.model == "Flat"
    assert fitted.trained is not None
    assert predict(fitted.trained.path, hourly()).columns == ["unique_id", "ds", "Flat"]
    from neuralforecast.models import DLinear

    assert fit(hourly(), DLinear, **SETTINGS).model == "DLinear"
    with pytest.raises(SpecError, match="no class derived from"):
        fit(hourly(), dict, **SETTINGS)


def test_a_file_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    """An absent file, and one of something else, are named."""
    with pytest.raises(DataError, match=r"none\.pt: no model can be read: No such file"):
        TrainedModel.open(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no model")
    with pytest.raises(DataError, match="is not a model that `fit` has written"):
        TrainedModel.open(tmp_path / "text.pt")


@pytest.mark.parametrize(
    ("times", "following"),
    [
        ([1, 3, 5], [7, 9]),
        ([date(2024, 2, 27), date(2024, 2, 28)], [date(2024, 2, 29), date(2024, 3, 1)]),
        ([date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)], [date(2024, 4, 1), date(2024, 5, 1)]),
        ([date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)], [date(2024, 4, 30), date(2024, 5, 31)]),
        ([date(2023, 9, 30), date(2023, 12, 31), date(2024, 3, 31)], [date(2024, 6, 30), date(2024, 9, 30)]),
        (
            [datetime(2020, 1, 1), datetime(2021, 1, 1), datetime(2022, 1, 1)],
            [datetime(2023, 1, 1), datetime(2024, 1, 1)],
        ),
    ],
)
def test_the_calendar_goes_on(times: list[Any], following: list[Any]) -> None:
    """Even steps, months, ends of months, quarters and years are told from the last times."""
    series = pl.Series("ds", times)
    assert times_after(series, 2, "a").to_list() == following
    assert times_after(series, 2, "a").dtype == series.dtype


def test_times_without_a_rule_are_refused() -> None:
    """Weekdays are no even steps: said, not guessed."""
    with pytest.raises(DataError, match="last steps are uneven"):
        times_after(pl.Series("ds", [date(2024, 5, 2), date(2024, 5, 3), date(2024, 5, 6)]), 2, "a")
