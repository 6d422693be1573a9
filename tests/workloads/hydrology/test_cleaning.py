"""Cleaning by its rules: units, calendar, bounds, gaps, evapotranspiration."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from deeprc.workloads.hydrology.cleaning import (
    COLUMNS,
    CleaningReport,
    clean_river,
    extraterrestrial_radiation,
    fill_short_gaps,
    oudin_pet,
)


def record(days: int = 12, **columns: list[float | None]) -> pl.DataFrame:
    """A river of 86.4 km2, so that 1 m3/s is 1 mm/day, from 1 March 2000."""
    dates = [date(2000, 3, 1) + timedelta(days=day) for day in range(days)]
    steady = {"discharge_m3s": [2.0] * days, "precipitation": [1.0] * days, "tmean": [10.0] * days}
    return pl.DataFrame({"date": dates, **steady, **columns}).with_columns(
        pl.lit("Brook").alias("basin"), pl.lit(86.4).alias("area_km2"), pl.lit(45.0).alias("latitude_deg")
    )


def test_units_and_columns() -> None:
    """Discharge in m3/s becomes mm/day over the catchment; a clean record stays as it is."""
    cleaned, report = clean_river(record())
    assert cleaned.columns == list(COLUMNS)
    assert cleaned["discharge"].to_list() == pytest.approx([2.0] * 12)
    assert report == CleaningReport("Brook", days=12, days_added=0, out_of_bounds=0, filled=0)


def test_impossible_values_become_missing() -> None:
    """Negative rain, a negative discharge, boiling air: null, counted; the temperature is then filled."""
    broken = record(
        precipitation=[-1.0] + [1.0] * 11, discharge_m3s=[2.0, -999.0] + [2.0] * 10, tmean=[10.0, 99.0] + [12.0] * 10
    )
    cleaned, report = clean_river(broken)
    assert cleaned["precipitation"][0] is None
    assert cleaned["discharge"][1] is None
    assert cleaned["tmean"][1] == 11.0
    assert (report.out_of_bounds, report.filled) == (3, 1)


def test_absent_days_are_added() -> None:
    """The calendar is whole: an added day has the statics, a filled temperature, and no rain or discharge."""
    whole = record()
    cleaned, report = clean_river(whole.filter(pl.col("date") != date(2000, 3, 4)).sample(fraction=1, shuffle=True))
    assert cleaned["date"].to_list() == whole["date"].to_list()
    added = cleaned.row(3, named=True)
    assert (added["basin"], added["area_km2"], added["tmean"]) == ("Brook", 86.4, 10.0)
    assert added["discharge"] is None
    assert added["precipitation"] is None
    assert report.days_added == 1


def test_only_short_gaps_are_filled() -> None:
    """A gap of the longest length is interpolated, one day more is left; ends are never extrapolated."""
    values = [None, 1.0, None, None, 4.0, None, None, None, 8.0, None]
    frame = pl.DataFrame({"tmean": values}).select(fill_short_gaps("tmean", max_days=2))
    assert frame["tmean"].to_list() == [None, 1.0, 2.0, 3.0, 4.0, None, None, None, 8.0, None]


def test_radiation_is_that_of_fao_56() -> None:
    """FAO-56 example 8: 20 degrees south on 3 September is 32.2 MJ/m2/day."""
    place = pl.DataFrame({"date": [date(2001, 9, 3)], "latitude_deg": [-20.0]})
    assert place.select(extraterrestrial_radiation()).item() == pytest.approx(32.2, abs=0.1)


def test_evapotranspiration_is_that_of_oudin() -> None:
    """(T + 5) / 100 of the radiation's equivalent in water, nothing at or below -5 degrees."""
    place = pl.DataFrame({"date": [date(2001, 9, 3)] * 3, "latitude_deg": [-20.0] * 3, "tmean": [15.0, -5.0, -20.0]})
    assert place.select(oudin_pet()).to_series().to_list() == pytest.approx([32.2 / 2.45 * 0.2, 0, 0], rel=0.01)


def test_a_record_s_own_evapotranspiration_is_kept() -> None:
    """A record with pet needs no temperature, and the column of temperature is then null."""
    cleaned, _ = clean_river(record().drop("tmean").with_columns(pl.lit(3.0).alias("pet")))
    assert cleaned["pet"].to_list() == [3.0] * 12
    assert cleaned["tmean"].null_count() == 12
