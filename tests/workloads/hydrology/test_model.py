"""The river model: what it learns, what it may not see, and that ranks do not change it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import polars as pl
import pytest

from deeprc import journal
from deeprc.bridge import Dataset
from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import DataError, SpecError
from deeprc.training.keras import load_model
from deeprc.workloads.hydrology.camels import read_camels, read_camels_attributes
from deeprc.workloads.hydrology.cleaning import clean_rivers
from deeprc.workloads.hydrology.evaluation import evaluate
from deeprc.workloads.hydrology.model import RiverModel
from deeprc.workloads.hydrology.prediction import predict
from deeprc.workloads.hydrology.rivers import river_files
from deeprc.workloads.hydrology.setup import Setup, split_years
from deeprc.workloads.hydrology.train import train_lstm
from tests.training.keras.ranks import run_on_tensorflow_ranks

SMALL: dict[str, Any] = {"lookback_days": 15, "hidden_units": 16, "epochs": 5, "batch_size": 96}
TINY: dict[str, Any] = {"lookback_days": 5, "hidden_units": 4, "epochs": 1, "batch_size": 256}


@pytest.fixture(scope="module")
def model(rivers: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> RiverModel:
    """One model of both rivers, trained on one rank."""
    path = tmp_path_factory.mktemp("river") / "lstm.keras"
    return train_lstm(rivers, SoloCommunicator(), path=path, **SMALL)


def test_it_beats_what_costs_nothing(model: RiverModel, rivers: pl.DataFrame) -> None:
    """On two unseen years of either river, NSE is above 0.7 and above persistence and climatology."""
    result = evaluate(model, rivers)
    for basin, days in (("Fulda", 731), ("Leaf River", 730)):
        lstm, still, season = (result.score(basin, name) for name in ("LSTM", "persistence", "climatology"))
        assert lstm.nse > 0.7
        assert lstm.nse > still.nse > season.nse
        assert lstm.kge > 0.7
        assert lstm.peak_error < season.peak_error
        assert lstm.days == still.days == season.days == days


@contextmanager
def recorded() -> Iterator[list[dict[str, Any]]]:
    """The artifacts that are left for the report meanwhile."""
    left: list[dict[str, Any]] = []
    journal.set_sink(lambda kind, fields: left.append(fields) if kind == "artifact" else None)
    try:
        yield left
    finally:
        journal.set_sink(None)


def test_evaluation_leaves_a_table_and_hydrographs(model: RiverModel, rivers: pl.DataFrame) -> None:
    """The journal gets a row for each river and simulation, and a hydrograph of each river, rain included."""
    with recorded() as left:
        evaluate(model, rivers)
    assert [artifact["type"] for artifact in left] == ["Hydrograph", "Hydrograph", "MetricTable"]
    hydrograph, table = left[0]["content"], left[2]["content"]
    assert hydrograph["title"] == "Fulda"
    assert (hydrograph["times"][0], hydrograph["times"][-1]) == ("1987-01-01", "1988-12-31")
    series = (hydrograph["observed"], hydrograph["precipitation"], *hydrograph["simulated"].values())
    assert {len(values) for values in series} == {731}
    assert list(table["rows"]) == [
        f"{basin}: {name}" for basin in ("Fulda", "Leaf River") for name in ("LSTM", "persistence", "climatology")
    ]
    assert {len(row) for row in table["rows"].values()} == {len(table["columns"])} == {len(table["better"])}


def test_a_model_is_small_and_survives_pickling(model: RiverModel, rivers: pl.DataFrame) -> None:
    """It travels by reference; what comes back predicts the same, never below zero, a day at a time."""
    packed = pickle.dumps(model)
    assert len(packed) < 10_000
    predicted = pickle.loads(packed).predict(rivers)
    assert predicted.equals(model.predict(rivers))
    assert predicted["LSTM"].min() >= 0
    # Fifteen days of input, the first with the discharge of the day before.
    assert predicted["date"].min() == date(1952, 7, 28) + timedelta(days=15)
    assert predicted.height == rivers.height - 2 * 15


@pytest.mark.parametrize("backend", ["gloo", "mpi"])
def test_two_ranks_give_the_model_of_one(model: RiverModel, rivers: pl.DataFrame, tmp_path: Path, backend: str) -> None:
    """With the same global batches the predicted discharge agrees to 1 % of its standard deviation."""
    path = str(tmp_path / "two.keras")
    ranks = run_on_tensorflow_ranks(_train, rivers, path, size=2, backend=backend)
    assert ranks[0] == ranks[1]
    assert ranks[0].scaling == model.scaling
    assert [epoch.loss for epoch in ranks[0].epochs] == pytest.approx([epoch.loss for epoch in model.epochs], rel=1e-3)
    difference = ranks[0].predict(rivers)["LSTM"] - model.predict(rivers)["LSTM"]
    assert difference.abs().max() < 0.01 * rivers["discharge"].std()


def _train(comm: Communicator, rivers: pl.DataFrame, path: str) -> RiverModel:
    return train_lstm(rivers, comm, path=path, **SMALL)


def test_test_years_are_never_seen(rivers: pl.DataFrame, tmp_path: Path) -> None:
    """Whatever happens in the test years, the trained weights are the same, bit by bit."""
    test_from = {basin: period.test_from for basin, period in split_years(rivers, Setup()).items()}
    in_test = pl.col("date") >= pl.col("basin").replace_strict(test_from)
    changed = rivers.with_columns(
        pl.when(in_test).then(pl.col(name) * 3 + 1).otherwise(pl.col(name)).alias(name)
        for name in ("discharge", "precipitation", "pet")
    )
    weights = [
        load_model(train_lstm(data, SoloCommunicator(), path=tmp_path / f"{name}.keras", **TINY).weights).get_weights()
        for name, data in (("as_is", rivers), ("changed", changed))
    ]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_forecast_knows_no_discharge_of_its_day(model: RiverModel, rivers: pl.DataFrame) -> None:
    """A flood from one day on changes no forecast up to that day, and the next day's does change."""
    river, day = rivers.filter(basin="Fulda"), date(1988, 3, 1)
    flood = pl.when(pl.col("date") >= day).then(100.0).otherwise(pl.col("discharge")).alias("discharge")
    calm, flooded = (
        model.predict(data).filter(pl.col("date") <= day + timedelta(days=1))["LSTM"]
        for data in (river, river.with_columns(flood))
    )
    np.testing.assert_allclose(calm[:-1], flooded[:-1], atol=1e-6)
    assert flooded[-1] > calm[-1] + 10


def test_simulation_of_camels_basins_with_gaps(camels_root: Path, tmp_path: Path) -> None:
    """From weather alone, with attributes, over days without discharge: gaps are neither trained on nor scored."""
    basins = ["01022500", "03015500"]
    attributes = read_camels_attributes(camels_root, basins, tables=["topo", "clim"])
    data = read_camels(camels_root, basins).join(attributes, on="basin")
    gap = (pl.col("basin") == basins[1]) & pl.col("date").is_between(date(2002, 3, 1), date(2002, 3, 31))
    data = data.with_columns(pl.when(~gap).then(pl.col("discharge")).alias("discharge"))
    model = train_lstm(
        data,
        SoloCommunicator(),
        path=tmp_path / "camels.keras",
        features=["precipitation", "srad", "tmax", "tmin", "vp"],
        static=["area_km2", "elev_mean", "aridity"],
        lead_days=0,
        test_years=1,
        **TINY,
    )
    result = evaluate(model, data)
    assert result.score(basins[0]).days == 365
    # A day after the gap has nothing to persist either.
    assert result.score(basins[1]).days == 365 - 31 - 1
    assert all(np.isfinite(score.nse) for score in result.scores)
    # Simulated without observed discharge: the year of forcings alone, and the gap, are simulated too.
    predicted = model.predict(data)
    assert predicted.height == data.height - 2 * (TINY["lookback_days"] - 1)


def test_a_data_set_of_cleaned_rivers(rivers: pl.DataFrame) -> None:
    """Cleaned on two GLOO ranks, a river each, the data set is what one process cleans, sorted."""
    paths = {name: str(path) for name, path in river_files().items()}
    frames = run_on_tensorflow_ranks(_clean, paths, size=2, backend="gloo")
    assert frames[0].equals(frames[1])
    assert frames[0].equals(rivers.sort("basin", "date"))


def _clean(comm: Communicator, paths: dict[str, str]) -> pl.DataFrame:
    return clean_rivers(comm, paths).to_polars()


def test_scaled_inputs_are_in_the_ledger(model: RiverModel, rivers: pl.DataFrame) -> None:
    """What the network reads is a copy of each column in float32, and the data set says so."""
    data = Dataset.from_polars(rivers)
    evaluate(model, data)
    told = {entry.column: entry for entry in data.ledger() if entry.to == "tensorflow"}
    assert set(told) == {*model.setup.features, *model.setup.static, model.setup.target}
    assert {entry.mode for entry in told.values()} == {"copied"}
    assert all(entry.bytes >= 4 * len(rivers) for entry in told.values())


def test_a_model_in_its_file_forecasts_the_day_after_the_record(
    model: RiverModel, rivers: pl.DataFrame, tmp_path: Path
) -> None:
    """Opened again it is the same; with the weather of the coming days it reaches its lead past the last discharge."""
    assert RiverModel.open(model.weights) == model
    with pytest.raises(DataError, match="no day after the last known discharge"):
        predict(model, rivers)
    last = rivers.group_by("basin", maintain_order=True).last()
    days = [
        last.with_columns(pl.col("date") + timedelta(days=ahead), pl.lit(None, pl.Float64).alias("discharge"))
        for ahead in (1, 2)
    ]
    frame = predict(model.weights, pl.concat([rivers, *days]), path=tmp_path / "ahead.csv")
    assert frame.rows() == [(row["basin"], row["date"] + timedelta(days=1), ANY) for row in last.to_dicts()]
    assert pl.read_csv(tmp_path / "ahead.csv").height == 2
    with pytest.raises(DataError, match=r"none\.keras\.json: no description"):
        RiverModel.open(tmp_path / "none.keras")


def test_many_rivers_are_summed_up(model: RiverModel, rivers: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """From some rivers on their medians come first, and no more hydrographs are drawn than asked for."""
    monkeypatch.setattr("deeprc.workloads.hydrology.evaluation.SUMMARISED", 2)
    with recorded() as left:
        result = evaluate(model, rivers, max_plots=1)
    titles = [artifact["content"]["title"] for artifact in left]
    assert [title.partition(" in ")[0] for title in titles] == ["Fulda", "Over 2 rivers", "Rivers"]
    nse = [score.nse for score in result.scores if score.simulation == "LSTM"]
    assert left[1]["content"]["rows"]["LSTM"][0] == pytest.approx(sum(nse) / 2)


def test_a_model_of_all_years_is_not_evaluated(rivers: pl.DataFrame) -> None:
    """test_years=0 leaves nothing to score on, which evaluate says."""
    model = train_lstm(rivers.filter(basin="Fulda"), SoloCommunicator(), test_years=0, **TINY)
    assert model.periods["Fulda"].test_from > model.periods["Fulda"].last
    with pytest.raises(SpecError, match="test_years=0"):
        evaluate(model, rivers)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 2.5}, "whole number, at least 1"),
        ({"seed": -1}, "at least 0"),
        ({"learning_rate": "1e-3"}, "must be a number"),
        ({"learning_rate": -1.0}, "at least 0"),
        ({"dropout": float("nan")}, "must be a number"),
    ],
)
def test_numbers_that_cannot_be_are_refused_at_once(setting: dict[str, Any], message: str) -> None:
    """Not by Keras, once a task has waited for its ranks; YAML reads 1e-3 as text."""
    with pytest.raises(SpecError, match=message):
        Setup(**setting)


def test_refusals(rivers: pl.DataFrame, model: RiverModel) -> None:
    """Unknown settings and columns, records too short and strange rivers: refused with what is valid."""
    solo = SoloCommunicator()
    with pytest.raises(SpecError, match="lookback_days=0"):
        train_lstm(rivers, solo, lookback_days=0)
    with pytest.raises(SpecError, match="Did you mean 'lookback_days'"):
        Setup.of({"lookback_day": 3})
    with pytest.raises(SpecError, match="dropout"):
        Setup(dropout=1.0)
    with pytest.raises(DataError, match=r"no column 'snow'.*Valid columns: area_km2"):
        train_lstm(rivers, solo, features=["snow"])
    with pytest.raises(DataError, match=r"^Fulda, Leaf River: the record of discharge is too short"):
        train_lstm(rivers, solo, test_years=9)
    with pytest.raises(DataError, match=r"tmean has no \(finite\) value"):
        train_lstm(rivers.filter(basin="Leaf River"), solo, features=["tmean"])
    with pytest.raises(DataError, match="no window of 40000 days"):
        train_lstm(rivers, solo, lookback_days=40_000)
    with pytest.raises(DataError, match="not trained on 'Elbe'"):
        model.predict(rivers.filter(basin="Fulda").with_columns(basin=pl.lit("Elbe")))
