"""From river records as filed to one table a model can read: units, calendar, physical bounds, gaps.

The rules
- discharge: m3/s over the catchment's area becomes mm/day.
- a value outside its physical bounds is treated as missing.
- days absent from a record are added, so that every river has one row a day.
- gaps of temperature and potential evapotranspiration of at most `MAX_GAP_DAYS` are interpolated linearly;
  precipitation and discharge are never invented, and longer gaps stay null.
- potential evapotranspiration, where a record has none, is computed from mean temperature (Oudin 2005).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from deeprc.journal import MetricTable, record_artifact
from deeprc.workloads.hydrology.rivers import read_river

if TYPE_CHECKING:
    from deeprc.bridge import Dataset
    from deeprc.communicator import Communicator

MAX_GAP_DAYS = 5
BOUNDS: Mapping[str, tuple[float, float]] = {
    "discharge": (0.0, 1000.0),
    "precipitation": (0.0, 1900.0),
    "pet": (0.0, 20.0),
    "tmean": (-90.0, 60.0),
    "tmin": (-90.0, 60.0),
    "tmax": (-90.0, 60.0),
}
"""Lowest and highest value that can be: mm/day, and degC. The most rain ever measured in a day is 1825 mm."""

INTERPOLATED = ("pet", "tmean", "tmin", "tmax")
COLUMNS = (
    "basin",
    "date",
    "area_km2",
    "latitude_deg",
    "discharge",
    "precipitation",
    "pet",
    "tmean",
)
"""What `clean_river` returns: mm/day, and degC (tmean is null for a river whose record has none)."""


@dataclass(frozen=True)
class CleaningReport:
    """What cleaning did to one river's record: days in all, days added, values refused and values filled."""

    basin: str
    days: int
    days_added: int
    out_of_bounds: int
    filled: int


def clean_rivers(comm: Communicator, paths: Mapping[str, str | Path], name: str = "rivers") -> Dataset:
    """Read and clean the named rivers, each rank its share, and persist them sorted by basin and date.

    Collective over the task's ranks. `paths` maps a name in `rivers.RIVERS` to its file, as `river_files()`
    does.

    Returns:
        A dataset of `COLUMNS`; a table of what was cleaned is left in the journal.

    Raises:
        DataError: unknown river or bad file (file and row named).
    """
    from deeprc.table import from_polars

    mine = sorted(paths)[comm.rank :: comm.size]
    cleaned = [clean_river(read_river(river, paths[river])) for river in mine]
    frames = [frame for frame, _ in cleaned]
    reports = [report for part in comm.all_gather([report for _, report in cleaned]) for report in part]
    if comm.rank == 0:
        record_cleaning(reports)
    share = pl.concat(frames) if frames else pl.DataFrame(schema=_SCHEMA)
    return from_polars(share, comm).sort("basin", "date").persist(name)


def clean_river(record: pl.DataFrame) -> tuple[pl.DataFrame, CleaningReport]:
    """Apply the rules to one river's record (basin, date, area_km2, latitude_deg, discharge_m3s, forcings).

    Returns:
        The frame of `COLUMNS`, sorted by date, and what was done.
    """
    statics = {name: record[name][0] for name in ("area_km2", "latitude_deg")}
    cleaned, report = clean_record(record.drop(statics), statics)
    if "tmean" not in cleaned.columns:
        cleaned = cleaned.with_columns(pl.lit(None, dtype=pl.Float64).alias("tmean"))
    return cleaned.select(pl.col(name).cast(_SCHEMA[name]) for name in COLUMNS), report


def clean_record(record: pl.DataFrame, statics: Mapping[str, float]) -> tuple[pl.DataFrame, CleaningReport]:
    """Apply the rules to one river's record: basin, date, discharge [mm/day] or discharge_m3s, and other columns.

    A record without discharge gets a column of nulls.

    `statics` are the catchment's attributes; discharge_m3s needs area_km2, and pet, where the record has none, is
    computed from tmean if there is latitude_deg.

    Returns:
        basin, date, the attributes, discharge and the other columns, sorted by date, and what was done.
    """
    fixed = {name: pl.lit(value, dtype=pl.Float64).alias(name) for name, value in statics.items()}
    in_units = record.with_columns(fixed.values())
    if "discharge_m3s" in record.columns:
        in_units = in_units.with_columns(discharge_mm_per_day().alias("discharge")).drop("discharge_m3s")
    if "discharge" not in in_units.columns:
        in_units = in_units.with_columns(pl.lit(None, pl.Float64).alias("discharge"))
    measured = [name for name in BOUNDS if name in in_units.columns]
    bounded = in_units.with_columns(within_bounds(name) for name in measured)
    daily = every_day(bounded).with_columns(fixed.values())
    filled = daily.with_columns(fill_short_gaps(name) for name in measured if name in INTERPOLATED)
    if "pet" not in filled.columns and {"tmean", "latitude_deg"} <= set(filled.columns):
        filled = filled.with_columns(oudin_pet().alias("pet"))
    report = CleaningReport(
        basin=record["basin"][0],
        days=daily.height,
        days_added=daily.height - record.height,
        out_of_bounds=_nulls(bounded, measured) - _nulls(in_units, measured),
        filled=_nulls(daily, measured) - _nulls(filled, measured),
    )
    return filled.select(
        "basin", "date", *statics, "discharge", pl.all().exclude("basin", "date", *statics, "discharge")
    ), report


def discharge_mm_per_day() -> pl.Expr:
    """`discharge_m3s` [m3/s] spread over `area_km2` [km2]."""
    return pl.col("discharge_m3s") * 86_400 / (pl.col("area_km2") * 1e6) * 1000


def within_bounds(column: str) -> pl.Expr:
    """The column with null for what cannot be; see `BOUNDS`."""
    low, high = BOUNDS[column]
    return pl.when(pl.col(column).is_between(low, high)).then(pl.col(column)).alias(column)


def every_day(record: pl.DataFrame) -> pl.DataFrame:
    """One row for each day from the first to the last, statics repeated, added days null."""
    days = record.select(pl.date_range(pl.col("date").min(), pl.col("date").max(), "1d").alias("date"))
    statics = [name for name in ("basin", "area_km2", "latitude_deg") if name in record.columns]
    return (
        days.join(record, on="date", how="left")
        .sort("date")
        .with_columns(pl.lit(record[name][0]).alias(name) for name in statics)
    )


def fill_short_gaps(column: str, max_days: int = MAX_GAP_DAYS) -> pl.Expr:
    """Interpolate linearly over runs of at most `max_days` nulls in a frame of one row a day."""
    missing = pl.col(column).is_null()
    length = pl.len().over(missing.rle_id())
    return pl.when(missing & (length > max_days)).then(None).otherwise(pl.col(column).interpolate()).alias(column)


def oudin_pet() -> pl.Expr:
    """Potential evapotranspiration [mm/day] from `tmean`, `latitude_deg` and the day of the year.

    Oudin et al. 2005, doi:10.1016/j.jhydrol.2004.08.026: Ra / (lambda rho) * (T + 5) / 100, never negative.
    """
    radiation_mm = extraterrestrial_radiation() / 2.45
    return (radiation_mm * (pl.col("tmean") + 5) / 100).clip(lower_bound=0)


def extraterrestrial_radiation() -> pl.Expr:
    """Radiation at the top of the atmosphere [MJ/m2/day] (Allen et al. 1998, FAO-56, eq. 21-25).

    For latitudes between the polar circles: the sun has to rise and set every day.
    """
    angle = pl.col("date").dt.ordinal_day() * (2 * math.pi / 365)
    latitude = pl.col("latitude_deg").radians()
    distance = 1 + 0.033 * angle.cos()
    declination = 0.409 * (angle - 1.39).sin()
    sunset = (-latitude.tan() * declination.tan()).arccos()
    noon = sunset * latitude.sin() * declination.sin() + latitude.cos() * declination.cos() * sunset.sin()
    return 24 * 60 / math.pi * 0.0820 * distance * noon


_SCHEMA = pl.Schema({name: {"basin": pl.String, "date": pl.Date}.get(name, pl.Float64) for name in COLUMNS})


def _nulls(frame: pl.DataFrame, columns: list[str]) -> int:
    return sum(frame[name].null_count() for name in columns)


def record_cleaning(reports: Sequence[CleaningReport]) -> None:
    """Leave what cleaning did in the journal, one row a river."""
    record_artifact(
        MetricTable(
            title="River records, cleaned",
            columns=("days", "days added", "values out of bounds", "values filled"),
            rows={
                report.basin: (report.days, report.days_added, report.out_of_bounds, report.filled)
                for report in sorted(reports, key=lambda report: report.basin)
            },
            note=f"Temperature and potential evapotranspiration are interpolated over at most {MAX_GAP_DAYS} "
            "days; precipitation and discharge never are.",
        )
    )
