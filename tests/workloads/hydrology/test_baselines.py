"""Persistence and climatology, as they are defined."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from deeprc.workloads.hydrology.baselines import climatology, persistence


def daily(start: date, end: date) -> pl.DataFrame:
    return pl.DataFrame({"date": pl.date_range(start, end, "1d", eager=True)})


def test_persistence_is_the_discharge_of_days_before() -> None:
    """By date and not by row: after an absent day there is nothing to persist."""
    river = daily(date(2000, 1, 1), date(2000, 1, 6)).with_columns(q=pl.int_range(6).cast(pl.Float64))
    gappy = river.filter(pl.col("date") != date(2000, 1, 3))
    assert persistence(river, "q", 2).to_list() == [None, None, 0, 1, 2, 3]
    assert persistence(gappy, "q", 1).to_list() == [None, 0, None, 3, 4]


def test_climatology_is_the_season_s_mean_of_the_years_before() -> None:
    """Days around the calendar day of all training years, through the turn of the year; later years unseen."""
    river = daily(date(2001, 1, 1), date(2003, 12, 31)).with_columns(
        q=pl.when(pl.col("date").dt.year() == 2003).then(1000.0).otherwise(pl.col("date").dt.ordinal_day())
    )
    season = climatology(river, river.filter(pl.col("date") < date(2003, 1, 1)), "q")
    by_date = dict(zip(river["date"], season, strict=True))
    assert by_date[date(2003, 7, 1)] == pytest.approx(182)
    # Day 366 did not occur: 7 days of January, its own and 6 of December.
    assert by_date[date(2003, 1, 1)] == pytest.approx((sum(range(1, 9)) + sum(range(360, 366))) / 14)


def test_climatology_without_a_training_year_is_unknown() -> None:
    """Null, not zero, where no day around was observed."""
    river = daily(date(2001, 6, 1), date(2001, 6, 3)).with_columns(q=pl.lit(1.0))
    assert climatology(river, river.clear(), "q").to_list() == [None] * 3
