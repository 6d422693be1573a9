"""Two river records that come with the `spotpy` package: no download, and spotpy itself is not imported.

Fulda at Grebenau, Germany (1979-1988): `cmf_data/fulda_climate.csv`, area 2976.41 km2 as in spotpy's own cmf
example; temperatures in degC, precipitation in mm/day, discharge in m3/s.

Leaf River near Collins, Mississippi (1952-1962): `hymod_unix/bound.txt`, area 1944 km2; day, month, year,
discharge in m3/s, potential evapotranspiration in mm/day, and precipitation in mm in four steps of six hours.
These are the columns as the HYMOD example of AMALGAM and DREAM (J. A. Vrugt) reads them; the sheet
`bound_units.xlsx` beside the file names them otherwise (discharge in mm), which would be 28 mm of runoff
a day from less than 1 mm of rain; read as here, a third of 1355 mm of rain a year runs off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from deeprc.errors import DataError, MissingDependencyError, valid_values
from deeprc.workloads.hydrology.textfiles import calendar_date, read_fields, to_dates, to_numbers


@dataclass(frozen=True)
class River:
    """A gauged river: its catchment's area and the latitude of its middle."""

    name: str
    area_km2: float
    latitude_deg: float
    file: str
    read: Callable[[Path], pl.DataFrame]


def read_fulda(path: str | Path) -> pl.DataFrame:
    """Read the Fulda's record.

    Returns:
        date, discharge_m3s [m3/s], precipitation [mm/day], tmean, tmin, tmax [degC]; one row a day as filed.

    Raises:
        DataError: the file is absent or a row is bad (file and row named).
    """
    path = Path(path)
    names = ["date", "tmax", "tmin", "tmean", "precipitation", "discharge_m3s"]
    header = read_fields(path, names, separator=",").row(0)[1:]
    if header != ("date", "tmax", "tmin", "tmean", "Prec", "Q"):
        raise DataError(f"{path}, row 1: is not the header date,tmax,tmin,tmean,Prec,Q: {','.join(header)!r}")
    frame = read_fields(path, names, separator=",", header_rows=2)
    frame = to_numbers(path, frame, names[1:])
    day = pl.col("date").str.to_date("%d.%m.%Y", strict=False)
    frame = to_dates(path, frame, day, "date")
    return frame.select("date", "discharge_m3s", "precipitation", "tmean", "tmin", "tmax")


def read_leaf_river(path: str | Path) -> pl.DataFrame:
    """Read the Leaf River's record.

    Returns:
        date, discharge_m3s [m3/s], precipitation [mm/day, the sum of four six-hour values], pet [mm/day].

    Raises:
        DataError: the file is absent or a row is bad (file and row named).
    """
    path = Path(path)
    steps = ["precipitation_00", "precipitation_06", "precipitation_12", "precipitation_18"]
    names = ["day", "month", "year", "discharge_m3s", "pet", *steps]
    frame = to_numbers(path, read_fields(path, names), names)
    shown = pl.format("{}-{}-{}", "year", "month", "day").alias("written")
    parts = {"year": "year", "month": "month", "day": "day"}
    frame = to_dates(path, frame.with_columns(shown), calendar_date(parts), "written")
    return frame.select("date", "discharge_m3s", pl.sum_horizontal(steps).alias("precipitation"), "pet")


RIVERS: Mapping[str, River] = {
    "Fulda": River("Fulda", 2976.41, 50.7, "cmf_data/fulda_climate.csv", read_fulda),
    "Leaf River": River("Leaf River", 1944.0, 31.9, "hymod_unix/bound.txt", read_leaf_river),
}


def river_files() -> dict[str, Path]:
    """Where the installed `spotpy` keeps the record of each river in `RIVERS`.

    Raises:
        MissingDependencyError: spotpy is not installed.
        DataError: this version of spotpy comes without one of the files.
    """
    spec = find_spec("spotpy")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError("the river records come with spotpy: pip install 'deeprc[demo]'")
    examples = Path(spec.submodule_search_locations[0]) / "examples"
    files = {name: examples / river.file for name, river in RIVERS.items()}
    for path in files.values():
        if not path.is_file():
            raise DataError(f"{path}: is not in the installed spotpy; pip install 'spotpy>=1.6.7'")
    return files


def read_river(name: str, path: str | Path) -> pl.DataFrame:
    """Read one river's record, with its name and its catchment's static attributes in every row.

    Returns:
        basin, area_km2, latitude_deg, then what the river's reader gives.

    Raises:
        DataError: unknown river, or a bad file (file and row named).
    """
    if name not in RIVERS:
        raise DataError(f"unknown river {name!r}. {valid_values(name, RIVERS, noun='river')}")
    river = RIVERS[name]
    static = [
        pl.lit(name).alias("basin"),
        pl.lit(river.area_km2).alias("area_km2"),
        pl.lit(river.latitude_deg).alias("latitude_deg"),
    ]
    return river.read(Path(path)).select(*static, pl.all())
