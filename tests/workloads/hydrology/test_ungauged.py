"""Rivers that a model was not trained on: simulated from weather and attributes, scored apart."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from deeprc import journal
from deeprc.communicator import SoloCommunicator
from deeprc.errors import DataError, SpecError
from deeprc.training.keras import load_model
from deeprc.workloads.hydrology.camels import read_camels, read_camels_attributes
from deeprc.workloads.hydrology.evaluation import evaluate, simulations
from deeprc.workloads.hydrology.model import RiverModel
from deeprc.workloads.hydrology.prediction import predict
from deeprc.workloads.hydrology.records import read_records
from deeprc.workloads.hydrology.samples import fit_scaling, river_samples
from deeprc.workloads.hydrology.setup import Setup, split_years
from deeprc.workloads.hydrology.train import train_lstm

YEARS = 8
SETTINGS: dict[str, Any] = {
    "features": ["rain"],
    "static": ["share"],
    "lead_days": 0,
    "scale": "shared",
    "lookback_days": 10,
    "hidden_units": 12,
    "epochs": 12,
    "learning_rate": 0.02,
}


def catchments() -> pl.DataFrame:
    """Rivers of one reservoir each, which differ by the share of rain that runs off, and all by their weather."""
    parts = []
    for number, share in enumerate((0.1, 0.3, 0.5, 0.7, 0.9, 0.6)):
        rain = np.random.default_rng(number).exponential(5.0, YEARS * 365)
        stored, flow = 0.0, []
        for of_day in rain:
            stored += share * of_day
            flow.append(0.4 * stored)
            stored -= flow[-1]
        days = [date(2001, 1, 1) + timedelta(days=day) for day in range(len(rain))]
        parts.append(
            pl.DataFrame({"basin": f"R{number}", "date": days, "rain": rain, "share": share, "discharge": flow})
        )
    return pl.concat(parts)


@pytest.fixture(scope="module")
def rivers() -> pl.DataFrame:
    return catchments()


@pytest.fixture(scope="module")
def model(rivers: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> RiverModel:
    """A model of five rivers; the sixth, R5, is held out."""
    path = tmp_path_factory.mktemp("ungauged") / "lstm.keras"
    return train_lstm(rivers, SoloCommunicator(), path=path, held_out=["R5"], **SETTINGS)


def test_a_held_out_river_is_simulated_well_and_scored_apart(model: RiverModel, rivers: pl.DataFrame) -> None:
    """What was learned of the other rivers carries over: NSE above 0.8, and tables of either kind of rivers."""
    left: list[Any] = []
    journal.set_sink(lambda kind, fields: left.append(fields["content"]) if kind == "artifact" else None)
    try:
        result = evaluate(model, rivers)
    finally:
        journal.set_sink(None)
    held_out = result.score("R5")
    assert [score.basin for score in result.scores if not score.trained] == ["R5"] * 3
    assert held_out.nse > 0.8
    assert held_out.nse > result.score("R5", "climatology").nse
    assert held_out.days == result.score("R0").days == 731
    tables = {content["title"]: content["rows"] for content in left if "rows" in content}
    assert [title.partition(" (")[0] for title in tables] == [
        "Over 5 rivers in years the model has not seen",
        "Rivers in years the model has not seen",
        "Rivers the model was not trained on",
    ]
    assert [row.partition(":")[0] for row in list(tables.values())[-1]] == ["R5"] * 3


def test_held_out_rivers_leave_no_trace_in_the_model(model: RiverModel, rivers: pl.DataFrame, tmp_path: Path) -> None:
    """Weights and scaling are those of a training on data without the river, bit by bit."""
    alone = train_lstm(
        rivers.filter(pl.col("basin") != "R5"), SoloCommunicator(), path=tmp_path / "alone.keras", **SETTINGS
    )
    assert alone.scaling == model.scaling
    for one, other in zip(*(load_model(m.weights).get_weights() for m in (alone, model)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_climatology_of_a_held_out_river_is_that_of_the_others(model: RiverModel, rivers: pl.DataFrame) -> None:
    """Its own discharge is not used; without the rivers trained on there is no climatology, and it is not scored."""
    simulated = simulations(model, rivers).filter(basin="R5")
    trained = rivers.filter((pl.col("basin") != "R5") & (pl.col("date") < date(2006, 1, 1)))
    assert simulated["climatology"].mean() == pytest.approx(trained["discharge"].mean(), rel=0.02)
    alone = evaluate(model, rivers.filter(basin="R5"))
    assert [score.simulation for score in alone.scores] == ["LSTM", "persistence"]


def test_a_river_without_a_gauge_is_predicted(model: RiverModel, rivers: pl.DataFrame, tmp_path: Path) -> None:
    """Weather and attributes are enough: no column of discharge, nor one in the file that is read."""
    weather = rivers.filter(basin="R5").select("basin", "date", "rain", "share")
    known = model.predict(rivers.filter(basin="R5"))
    assert predict(model, weather).equals(known)
    weather.rename({"date": "day"}).select("day", "rain").write_csv(tmp_path / "R5.csv")
    columns = {"date": "day", "rain": "rain", "discharge": None}
    data = read_records(
        tmp_path / "R5.csv", SoloCommunicator(), columns=columns, attributes={"R5": {"share": 0.6}}, name="R5"
    )
    assert data.schema.names() == ["basin", "date", "share", "discharge", "rain"]
    np.testing.assert_allclose(RiverModel.open(model.weights).predict(data)["LSTM"], known["LSTM"], rtol=1e-5)
    with pytest.raises(DataError, match="no river of the data has a known discharge"):
        evaluate(model, data)


def test_a_basin_of_camels_is_held_out(camels_root: Path, tmp_path: Path) -> None:
    """Over real basins, with attributes of CAMELS: the basin that was not trained on is scored in its test year."""
    basins = ["01022500", "02064000", "03015500"]
    attributes = read_camels_attributes(camels_root, basins, tables=["topo", "clim"])
    data = read_camels(camels_root, basins).join(attributes, on="basin")
    model = train_lstm(
        data,
        SoloCommunicator(),
        path=tmp_path / "lstm.keras",
        features=["precipitation", "srad", "tmax", "tmin", "vp"],
        static=["elev_mean", "aridity"],
        lead_days=0,
        scale="shared",
        held_out=basins[:1],
        lookback_days=20,
        hidden_units=8,
        epochs=2,
        batch_size=256,
        test_years=1,
    )
    result = evaluate(model, data)
    assert {score.basin for score in result.scores if not score.trained} == set(basins[:1])
    assert result.score(basins[0]).days == 365
    assert np.isfinite(result.score(basins[0]).nse)


def test_each_river_weighs_alike_in_the_loss(rivers: pl.DataFrame) -> None:
    """With one scale for all, a river's squared errors weigh the more the less it varies, as NSE does."""
    setup = Setup(("rain",), ("share",), lead_days=0, scale="shared", lookback_days=10)
    scaling = fit_scaling(rivers, split_years(rivers, setup), setup)
    assert set(scaling.target.values()) == {scaling.others}
    small, large = (river.weight for river in river_samples(rivers, scaling, setup)[:5:4])
    assert small / large > 10


def test_a_model_of_all_years_is_scored_on_other_rivers_alone(rivers: pl.DataFrame) -> None:
    """test_years=0: rivers trained on have nothing left to score, the held-out one has all its days."""
    quick = {**SETTINGS, "epochs": 1, "test_years": 0}
    model = train_lstm(rivers, SoloCommunicator(), held_out=["R5"], **quick)
    result = evaluate(model, rivers)
    assert {score.basin for score in result.scores} == {"R5"}
    # The first full window ends on the tenth day.
    assert result.score("R5").days == YEARS * 365 - 9


def test_refusals(rivers: pl.DataFrame) -> None:
    """Held-out rivers without a shared scale, that are not there or that are all; attributes that tell nothing."""
    solo = SoloCommunicator()
    with pytest.raises(SpecError, match="say scale='shared'"):
        Setup(held_out=("R5",))
    with pytest.raises(SpecError, match="give a list of rivers"):
        Setup(held_out="R5", scale="shared")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="Valid scales: river, shared"):
        Setup(scale="all")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"no river 'R9'.*Valid rivers: R0"):
        train_lstm(rivers, solo, **SETTINGS, held_out=["R9"])
    with pytest.raises(DataError, match="names all rivers"):
        train_lstm(rivers.filter(basin="R1"), solo, **SETTINGS, held_out=["R1"])
    with pytest.raises(DataError, match="the same share, from which nothing can be learned"):
        train_lstm(rivers.filter(pl.col("basin").is_in(["R0", "R1"])), solo, **SETTINGS, held_out=["R1"])
    columns = {"date": None, "discharge": None}
    with pytest.raises(SpecError, match="only discharge may be None"):
        read_records("R5.csv", solo, columns=columns)
