"""The demo's tables are right, and its three forms are one."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.errors import DataError, SpecError
from deeprc.workloads import demo
from deeprc.workloads.demo import flights
from tests.ranks import run_on_ranks

ROOT = Path(__file__).resolve().parents[3]


def delays_by_polars() -> pl.DataFrame:
    """The same table, by plain Polars on one process."""
    options: dict[str, Any] = {"null_values": ["NA", ""], "infer_schema_length": 10_000}
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ").alias("ds")
    with zipfile.ZipFile(flights.FLIGHTS) as archive:
        flown = pl.read_csv(io.BytesIO(archive.read("flights.csv")), **options).filter(
            pl.col("dep_delay").is_not_null()
        )
    seats = pl.read_csv(flights.PLANES, **options).select("tailnum", "seats")
    weather = pl.read_csv(flights.WEATHER, **options).select("origin", hour, "temp", "wind_speed")
    hourly = (
        flown.select("origin", hour, "tailnum", "dep_delay")
        .join(seats, on="tailnum", how="left")
        .group_by("origin", "ds")
        .agg(departures=pl.len(), y=pl.col("dep_delay").mean(), seats=pl.col("seats").sum())
    )
    hours = pl.DataFrame({"ds": pl.datetime_range(hourly["ds"].min(), hourly["ds"].max(), "1h", eager=True)})  # type: ignore[arg-type]
    return (
        hourly.select("origin")
        .unique()
        .join(hours, how="cross")
        .join(hourly, on=["origin", "ds"], how="left")
        .join(weather.unique(["origin", "ds"], keep="first", maintain_order=True), on=["origin", "ds"], how="left")
        .sort("origin", "ds")
        .with_columns(
            pl.col("departures", "seats").fill_null(0),
            pl.col("y").interpolate().fill_null(0).over("origin"),
            pl.col("temp", "wind_speed").forward_fill().over("origin"),
        )
        .rename({"origin": "unique_id"})
    )


@pytest.mark.parametrize(("backend", "size"), [("solo", 1), ("mpi", 2), ("gloo", 3)])
def test_delays_are_those_of_polars(backend: str, size: int) -> None:
    """Joins, aggregation, gaps and order, on any number of ranks."""
    dataset = run_on_ranks(demo.hourly_delays, size=size, backend=backend)[0]
    expected = delays_by_polars()
    assert_frame_equal(dataset.to_polars().select(expected.columns), expected, check_dtypes=False)


def test_yaml_and_python_make_one_spec() -> None:
    """`pipelines/demo.yaml` equals `deeprc.workloads.demo.pipeline()`, to the digest."""
    loaded = rc.load_pipeline(ROOT / "pipelines" / "demo.yaml")
    assert loaded == demo.pipeline()
    assert loaded.digest() == demo.pipeline().digest()


def test_missing_files_are_refused_at_submit(session: rc.Session) -> None:
    """By parameter and path, before any rank is asked."""
    with pytest.raises(DataError, match=r"no such file: 'absent.csv'"):
        session.submit(demo.hourly_delays, flights="absent.csv", ranks=2, comm="mpi")
    with pytest.raises(SpecError, match=r"unknown model 'NBEATZ'.*Did you mean"):
        from deeprc.workloads import forecasting

        session.submit(forecasting.fit, pl.DataFrame(), "NBEATZ")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_three_forms_give_the_same_numbers(tmp_path: Path) -> None:
    """`deeprc demo`, `deeprc run pipelines/demo.yaml` and `examples/demo.py`: metrics to the last digit."""
    deeprc = str(Path(sys.executable).with_name("deeprc"))
    metrics = []
    for name, command in {
        "demo": [deeprc, "demo"],
        "yaml": [deeprc, "run", str(ROOT / "pipelines" / "demo.yaml")],
    }.items():
        subprocess.run([*command, "--out", name], cwd=tmp_path, check=True, timeout=500, stdout=subprocess.DEVNULL)
        metrics.append(_without_seconds(json.loads((tmp_path / name / "summary.json").read_text())["metrics"]))
    script = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        cwd=tmp_path,
        check=True,
        timeout=500,
        capture_output=True,
        text=True,
    )
    assert metrics[0] == metrics[1]
    forecasts = metrics[0]["Departure delay, last two weeks of the year"]
    assert len(forecasts) == 12
    for model, row in forecasts.items():
        assert f"{model:20} MAE {row['MAE [min]']:.2f} min, MASE {row['MASE']:.3f}" in script.stdout
    for river in ("Fulda", "Leaf River"):
        scores = next(table for title, table in metrics[0].items() if "Rivers in years" in title)
        assert scores[f"{river}: LSTM"]["NSE"] > scores[f"{river}: persistence"]["NSE"] > 0.5
        assert f"NSE {scores[f'{river}: LSTM']['NSE']:.3f}" in script.stdout


def _without_seconds(tables: dict[str, Any]) -> dict[str, Any]:
    return {
        title: {
            row: {name: value for name, value in cells.items() if "[s]" not in name} for row, cells in table.items()
        }
        for title, table in tables.items()
    }
