"""Reader for the CAMELS-US data set (Newman et al. 2015, doi:10.5194/hess-19-209-2015; Addor et al. 2017,
doi:10.5194/hess-21-5293-2017) in the layout of the published archive.

    root/basin_mean_forcing/daymet/[01/]01022500_lump_cida_forcing_leap.txt
    root/usgs_streamflow/[01/]01022500_streamflow_qc.txt
    root/camels_attributes_v2.0/camels_topo.txt, ...

The folders of two-digit hydrologic units in brackets may be there or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from deeprc.errors import DataError, valid_values
from deeprc.spec.imports import reads
from deeprc.workloads.hydrology.textfiles import (
    ROW,
    calendar_date,
    read_fields,
    read_text_lines,
    refuse_rows,
    to_dates,
    to_numbers,
)

FORCINGS = {"daymet": "cida", "maurer": "maurer", "nldas": "nldas"}
"""Each forcing product, and the word that its file names hold."""

CUBIC_FEET_M3 = 0.3048**3
MISSING_STREAMFLOW = -999.0
_HEADER_ROWS = 4
_RENAMED = {"prcp": "precipitation"}


@reads("root")
def read_camels(root: str | Path, basins: Sequence[str] | None = None, forcing: str = "daymet") -> pl.DataFrame:
    """Read daily forcings and discharge of some or all basins.

    Args:
        root: the folder that holds `basin_mean_forcing` and `usgs_streamflow`.
        basins: gauge numbers of eight digits; None means all basins with this forcing.
        forcing: "daymet", "maurer" or "nldas".

    Returns:
        basin, date, area_km2, discharge [mm/day, null where -999], precipitation [mm/day], dayl [s],
        srad [W/m2], swe [mm], tmax, tmin [degC], vp [Pa]; sorted by basin and date. Days are those of the
        forcing file; a day without streamflow has a null discharge.

    Raises:
        DataError: unknown basin or forcing, or a bad file (file and row named).
    """
    forcing_files = _forcing_files(Path(root), forcing)
    chosen = sorted(forcing_files) if basins is None else list(basins)
    for basin in chosen:
        if basin not in forcing_files:
            raise DataError(
                f"{root} has no {forcing} forcing for basin {basin!r}. "
                f"{valid_values(basin, forcing_files, noun='basin')}"
            )
    streamflow_files = _by_basin(Path(root) / "usgs_streamflow", "_streamflow_qc.txt")
    frames = []
    for basin in dict.fromkeys(chosen):
        if basin not in streamflow_files:
            raise DataError(f"{Path(root) / 'usgs_streamflow'} has no {basin}_streamflow_qc.txt")
        frames.append(_read_basin(basin, forcing_files[basin], streamflow_files[basin]))
    return pl.concat(frames).sort("basin", "date")


@reads("root")
def read_camels_attributes(
    root: str | Path, basins: Sequence[str] | None = None, tables: Sequence[str] | None = None
) -> pl.DataFrame:
    """Read the attribute tables, one row a basin.

    Args:
        root: the folder that holds `camels_attributes_v2.0`, or the folder in it or beside it.
        basins: gauge numbers; None means all.
        tables: names out of "clim", "geol", "hydro", "name", "soil", "topo", "vege"; None means all there.

    Returns:
        basin, then the columns of the tables, joined; a column is Float64 where every value is a number or
        "NA" (null), else String.

    Raises:
        DataError: no such table or basin, or a bad file (file and row named).
    """
    folder = _attributes_folder(Path(root))
    files = {path.stem.removeprefix("camels_"): path for path in sorted(folder.glob("camels_*.txt"))}
    joined: pl.DataFrame | None = None
    for name in files if tables is None else tables:
        if name not in files:
            raise DataError(f"{folder} has no camels_{name}.txt. {valid_values(name, files, noun='table')}")
        table = _read_attribute_table(files[name])
        joined = table if joined is None else joined.join(table, on="basin", how="full", coalesce=True)
    if joined is None:
        raise DataError(f"{folder} holds no attribute table camels_*.txt")
    for basin in basins or ():
        if basin not in joined["basin"]:
            known = valid_values(basin, joined["basin"], noun="basin")
            raise DataError(f"{folder} has no attributes of basin {basin!r}. {known}")
    return joined.filter(pl.lit(True) if basins is None else pl.col("basin").is_in(basins)).sort("basin")


def _read_basin(basin: str, forcing: Path, streamflow: Path) -> pl.DataFrame:
    """One basin's forcings with its discharge in mm/day."""
    area_m2 = _area_m2(forcing)
    to_mm_per_day = CUBIC_FEET_M3 * 86_400 / area_m2 * 1000
    discharge = (pl.col("streamflow_ft3s") * to_mm_per_day).alias("discharge")
    days = _read_forcing(forcing).join(_read_streamflow(basin, streamflow), on="date", how="left")
    return days.sort("date").select(
        pl.lit(basin).alias("basin"),
        "date",
        pl.lit(area_m2 / 1e6).alias("area_km2"),
        discharge,
        pl.all().exclude("date", "streamflow_ft3s"),
    )


def _read_forcing(path: Path) -> pl.DataFrame:
    """date and the forcings, under the names that all three products share."""
    names = [
        _RENAMED.get(name, name)
        for name in (re.sub(r"\(.*", "", field).lower() for field in read_text_lines(path)[3].split())
    ]
    if names[:4] != ["year", "mnth", "day", "hr"] or len(set(names)) != len(names):
        raise DataError(f"{path}, row 4: is not a header that starts with Year Mnth Day Hr: {names}")
    frame = to_numbers(path, read_fields(path, names, header_rows=_HEADER_ROWS), names)
    written = pl.format("{}-{}-{}", "year", "mnth", "day").alias("written")
    parts = {"year": "year", "month": "mnth", "day": "day"}
    frame = to_dates(path, frame.with_columns(written), calendar_date(parts), "written")
    return frame.select("date", *sorted(names[4:]))


def _read_streamflow(basin: str, path: Path) -> pl.DataFrame:
    """date and streamflow_ft3s, null where the file says -999."""
    names = ["basin", "year", "month", "day", "streamflow_ft3s", "quality"]
    frame = read_fields(path, names)
    refuse_rows(path, frame, pl.col("basin") != basin, f"is not of basin {basin}", "basin")
    frame = to_numbers(path, frame, names[1:5])
    written = pl.format("{}-{}-{}", "year", "month", "day").alias("written")
    parts = {name: name for name in ("year", "month", "day")}
    frame = to_dates(path, frame.with_columns(written), calendar_date(parts), "written")
    flow = pl.col("streamflow_ft3s")
    return frame.select("date", pl.when(flow != MISSING_STREAMFLOW).then(flow).alias("streamflow_ft3s"))


def _area_m2(path: Path) -> float:
    """The basin's area in m2: the third line of its forcing file."""
    lines = read_text_lines(path)
    if len(lines) <= _HEADER_ROWS:
        raise DataError(f"{path}: holds {len(lines)} lines; a forcing file has four header lines and then days")
    try:
        area_m2 = float(lines[2])
    except ValueError:
        area_m2 = float("nan")
    if not 0 < area_m2 < float("inf"):
        raise DataError(f"{path}, row 3: is not the basin's area in m2: {lines[2]!r}")
    return area_m2


def _read_attribute_table(path: Path) -> pl.DataFrame:
    columns = [name.strip() for name in read_text_lines(path)[0].split(";")]
    if columns[0] != "gauge_id":
        raise DataError(f"{path}, row 1: is not a header that starts with gauge_id: {columns[0]!r}")
    frame = read_fields(path, columns, separator=";", header_rows=1)
    refuse_rows(path, frame, ~pl.col("gauge_id").is_first_distinct(), "repeats a basin", "gauge_id")
    text = frame.drop(ROW).with_columns(pl.all().replace({"NA": None, "": None}))
    numeric = [
        name for name in columns[1:] if name != "huc_02" and not text[name].is_null().all() and _all_numbers(text[name])
    ]
    return text.with_columns(pl.col(numeric).cast(pl.Float64)).rename({"gauge_id": "basin"})


def _all_numbers(values: pl.Series) -> bool:
    return values.cast(pl.Float64, strict=False).null_count() == values.null_count()


def _forcing_files(root: Path, forcing: str) -> dict[str, Path]:
    if forcing not in FORCINGS:
        raise DataError(f"unknown forcing {forcing!r}. {valid_values(forcing, FORCINGS, noun='forcing')}")
    return _by_basin(root / "basin_mean_forcing" / forcing, f"_lump_{FORCINGS[forcing]}_forcing_leap.txt")


def _by_basin(folder: Path, suffix: str) -> dict[str, Path]:
    """Files `<basin><suffix>` in the folder or in its sub-folders of hydrologic units, by basin."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; root is the folder that holds basin_mean_forcing")
    files: Iterable[Path] = (*folder.glob(f"*{suffix}"), *folder.glob(f"[0-9][0-9]/*{suffix}"))
    # Unpacking the archive on a Mac leaves a `._` file beside each.
    return {path.name.removesuffix(suffix): path for path in sorted(files) if path.name[0] != "."}


def _attributes_folder(root: Path) -> Path:
    places = (root, root / "camels_attributes_v2.0", root.parent / "camels_attributes_v2.0")
    for place in places:
        if (place / "camels_topo.txt").is_file() or any(place.glob("camels_*.txt")):
            return place
    raise DataError(f"no attribute tables camels_*.txt in any of {', '.join(map(str, places))}")
