"""Estimated rows are near those that come out, where files and samples tell enough; and never below, where at most."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from deeprc.table.plan.estimate import Estimates

ROWS = 20_000
FACTS = pl.DataFrame(
    {
        "id": range(ROWS),
        "day": [dt.date(2020, 1, 1) + dt.timedelta(days=row * 100 // ROWS) for row in range(ROWS)],
        "station": [row * 7919 % 50 for row in range(ROWS)],
        "x": [None if row % 4 == 0 else row * 37 % 1000 / 10 for row in range(ROWS)],
    }
)
STATIONS = pl.DataFrame({"station": range(25), "name": ["a"] * 25})
number, day, station, x = (pl.col(name) for name in FACTS.columns)
PLANS: dict[str, Any] = {
    "below": lambda t, s: t.filter(number < 5000),
    "not below": lambda t, s: t.filter(~(pl.lit(5000) > number)),
    "days": lambda t, s: t.filter(day.is_between(dt.date(2020, 1, 11), dt.date(2020, 1, 20))),
    "one of": lambda t, s: t.filter(station == 3),
    "three of": lambda t, s: t.filter(station.is_in([1, 2, 3]), x > 25),
    "one day": lambda t, s: t.filter(day == dt.date(2020, 3, 1)),
    "outside": lambda t, s: t.filter(number > 10**6),
    "nulls": lambda t, s: t.filter(x.is_null()),
    "no nulls": lambda t, s: t.filter(x.is_not_null() & x.is_not_nan()),
    "either": lambda t, s: t.filter((x > 90) | (number < 1000)),
    "half of the keys": lambda t, s: t.join(s, on="station"),
    "those": lambda t, s: t.join(s, on="station", how="semi"),
    "the others": lambda t, s: t.join(s, on="station", how="anti"),
    "all left": lambda t, s: t.join(s, on="station", how="left"),
    "many to many": lambda t, s: t.filter(number < 1000).join(t.filter(number < 500), on="station"),
    "groups": lambda t, s: t.filter(x > 50).group_by("station").agg(pl.len()),
}


@pytest.mark.parametrize("name", PLANS)
def test_estimates_are_near(name: str, tmp_path: Path) -> None:
    """To a quarter and a few rows, of files as of frames; what is told to be most is no less than what comes."""
    FACTS.write_parquet(tmp_path / "facts.parquet", row_group_size=1000)
    STATIONS.write_parquet(tmp_path / "stations.parquet")
    rows = PLANS[name](FACTS.lazy(), STATIONS.lazy()).collect().height
    scanned = rc.scan_parquet(tmp_path / "facts.parquet"), rc.scan_parquet(tmp_path / "stations.parquet")
    for tables in (scanned, (rc.from_polars(FACTS), rc.from_polars(STATIONS))):
        node = PLANS[name](*tables).node
        found, most = Estimates().of(node), Estimates(most=True).of(node)
        assert found is not None and most is not None
        assert found.rows == pytest.approx(rows, rel=0.25, abs=10)
        assert most.rows >= rows or name == "many to many"
