"""The CAMELS-US reader on real basins, in both layouts, and on files that someone broke."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from deeprc.errors import DataError
from deeprc.workloads.hydrology.camels import read_camels, read_camels_attributes

BASIN = "01022500"


def test_real_basins(camels_root: Path) -> None:
    """All basins of the folder, sorted, with forcings named alike and discharge in mm/day."""
    frame = read_camels(camels_root)
    assert frame["basin"].unique().sort().to_list() == ["01022500", "01547700", "02064000", "03015500"]
    assert frame.columns[:5] == ["basin", "date", "area_km2", "discharge", "dayl"]
    assert set(frame.columns[4:]) == {"precipitation", "dayl", "srad", "swe", "tmax", "tmin", "vp"}
    assert frame.select("basin", "date").equals(frame.select("basin", "date").sort("basin", "date"))
    first = frame.row(0, named=True)
    # 255 ft3/s on 587.675987 km2.
    assert first["date"] == date(2000, 1, 1)
    assert first["discharge"] == pytest.approx(255 * 0.028316846592 * 86400 / 587675987 * 1000)
    assert (first["precipitation"], first["tmax"], first["tmin"]) == (0.0, -2.36, -14.36)


def test_the_runoff_is_that_of_the_attributes(camels_root: Path) -> None:
    """These three dry years have more than half of the runoff ratio of the twenty years of the attributes."""
    known = read_camels(camels_root).drop_nulls("discharge")
    ratio = (pl.col("discharge").sum() / pl.col("precipitation").sum()).alias("mine")
    attributes = read_camels_attributes(camels_root, tables=["hydro", "topo"])
    both = known.group_by("basin").agg(ratio, pl.col("area_km2").first()).join(attributes, on="basin")
    assert both.height == 4
    assert (both["mine"] / both["runoff_ratio"]).is_between(0.5, 1.0).all()
    assert (both["area_km2"] / both["area_gages2"]).is_between(0.9, 1.1).all()


def copied(camels_root: Path, to: Path, *, by_unit: bool = False, forcing: str = "daymet") -> Path:
    """One basin's files, in the folders of hydrologic units or without."""
    unit = "01" if by_unit else "."
    word = {"daymet": "cida"}.get(forcing, forcing)
    forcings, streamflow = to / "basin_mean_forcing" / forcing / unit, to / "usgs_streamflow" / unit
    forcings.mkdir(parents=True, exist_ok=True)
    streamflow.mkdir(parents=True, exist_ok=True)
    source = camels_root / "basin_mean_forcing" / "daymet" / f"{BASIN}_lump_cida_forcing_leap.txt"
    shutil.copyfile(source, forcings / f"{BASIN}_lump_{word}_forcing_leap.txt")
    name = f"{BASIN}_streamflow_qc.txt"
    shutil.copyfile(camels_root / "usgs_streamflow" / name, streamflow / name)
    return to


def test_both_layouts(camels_root: Path, tmp_path: Path) -> None:
    """With the folders of hydrologic units, and a Mac's leavings in them, the frame is the same."""
    root = copied(camels_root, tmp_path, by_unit=True)
    (root / "usgs_streamflow" / "01" / f"._{BASIN}_streamflow_qc.txt").write_bytes(b"\x00\x05")
    assert read_camels(root).equals(read_camels(camels_root, [BASIN]))


@pytest.mark.parametrize("forcing", ["nldas", "maurer"])
def test_other_forcings_have_the_same_columns(camels_root: Path, tmp_path: Path, forcing: str) -> None:
    """NLDAS and Maurer write their header in capitals; the frame's columns are those of Daymet."""
    root = copied(camels_root, tmp_path, forcing=forcing)
    path = root / "basin_mean_forcing" / forcing / f"{BASIN}_lump_{forcing}_forcing_leap.txt"
    lines = path.read_text().splitlines()
    lines[3] = "Year Mnth Day Hr\tDayl(s)\tPRCP(mm/day)\tSRAD(W/m2)\tSWE(mm)\tTmax(C)\tTmin(C)\tVp(Pa)"
    path.write_text("\n".join(lines))
    assert read_camels(root, forcing=forcing).equals(read_camels(camels_root, [BASIN]))


def test_missing_streamflow_is_null(camels_root: Path, tmp_path: Path) -> None:
    """-999 is null, and so is a day the file does not have; every day of the forcings stays."""
    root = copied(camels_root, tmp_path)
    path = root / "usgs_streamflow" / f"{BASIN}_streamflow_qc.txt"
    lines = path.read_text().splitlines()
    lines[1] = f"{BASIN} 2000 01 02  -999.00 M"
    del lines[4]
    path.write_text("\n".join(lines) + "\n")
    frame = read_camels(root)
    unknown = frame.filter(pl.col("discharge").is_null() & (pl.col("date") < date(2003, 1, 1)))
    assert unknown["date"].to_list() == [date(2000, 1, 2), date(2000, 1, 5)]
    assert frame.height == read_camels(camels_root, [BASIN]).height


FORCING = f"basin_mean_forcing/daymet/{BASIN}_lump_cida_forcing_leap.txt"
STREAMFLOW = f"usgs_streamflow/{BASIN}_streamflow_qc.txt"


@pytest.mark.parametrize(
    ("file", "row", "text", "complaint"),
    [
        (FORCING, 3, "area", "row 3: is not the basin's area in m2"),
        (FORCING, 4, "no header", "row 4: is not a header"),
        (FORCING, 7, "2000 01 03 12 1 2 3", "row 7: does not have the 11 fields"),
        (FORCING, 7, "2000 02 30 12 1 2 3 4 5 6 7", "row 7: is not a date"),
        (FORCING, 7, "2000 01 02 12 1 2 3 4 5 6 7", "row 7: repeats a day"),
        (FORCING, 7, "2000 01 03 12 1 x 3 4 5 6 7", "row 7: precipitation is not a number: 'x'"),
        (STREAMFLOW, 2, f"{BASIN} 2000 01 02 x A", "row 2: streamflow_ft3s is not a number: 'x'"),
        (STREAMFLOW, 2, "09999999 2000 01 02 1 A", f"row 2: is not of basin {BASIN}: '09999999'"),
        (STREAMFLOW, 2, f"{BASIN} 2000 13 02 1 A", "row 2: is not a date"),
        (STREAMFLOW, 2, f"{BASIN} 2000 01 02 1", "row 2: does not have the 6 fields"),
    ],
)
def test_a_bad_file_is_refused(
    camels_root: Path, tmp_path: Path, file: str, row: int, text: str, complaint: str
) -> None:
    """The message names the file, the row and what stands there."""
    path = copied(camels_root, tmp_path) / file
    lines = path.read_text().splitlines()
    lines[row - 1] = text
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError) as refusal:
        read_camels(tmp_path)
    assert str(path) in str(refusal.value)
    assert complaint in str(refusal.value)


def test_what_is_not_there_is_refused(camels_root: Path, tmp_path: Path) -> None:
    """Unknown basin, forcing or folder, and a basin without streamflow: refused with what there is."""
    with pytest.raises(DataError, match="Did you mean '01022500'"):
        read_camels(camels_root, ["01022501"])
    with pytest.raises(DataError, match="Valid forcings: daymet, maurer, nldas"):
        read_camels(camels_root, forcing="era5")
    with pytest.raises(DataError, match="no such folder"):
        read_camels(tmp_path / "nowhere")
    root = copied(camels_root, tmp_path)
    (root / STREAMFLOW).unlink()
    with pytest.raises(DataError, match=f"no {BASIN}_streamflow_qc"):
        read_camels(root)


def test_attributes(camels_root: Path) -> None:
    """Tables joined by basin; numbers as numbers, NA as null, names as text."""
    table = read_camels_attributes(camels_root, [BASIN, "03015500"], tables=["topo", "vege", "name"])
    assert table["basin"].to_list() == [BASIN, "03015500"]
    assert table["area_gages2"][0] == 573.6
    assert table["gauge_name"][0] == "Narraguagus River at Cherryfield, Maine"
    assert table["huc_02"].to_list() == ["01", "03"] or table["huc_02"][0] == "01"
    everything = read_camels_attributes(camels_root)
    assert everything.height == 671
    assert everything.filter(pl.col("basin") == "01013500")["root_depth_50"].item() is None
    assert everything.schema["dom_land_cover"] == pl.String
    assert everything.schema["root_depth_50"] == pl.Float64


def test_bad_attribute_tables_are_refused(camels_root: Path, tmp_path: Path) -> None:
    """A row of another length or a basin given twice is named; so are unknown tables and basins."""
    source = (camels_root / "camels_attributes_v2.0" / "camels_topo.txt").read_text().splitlines()
    path = tmp_path / "camels_topo.txt"
    path.write_text("\n".join([*source[:3], "1;2"]))
    with pytest.raises(DataError, match=r"camels_topo\.txt, row 4: does not have the 7 fields"):
        read_camels_attributes(tmp_path)
    path.write_text("\n".join([*source[:3], source[1]]))
    with pytest.raises(DataError, match="row 4: repeats a basin"):
        read_camels_attributes(tmp_path)
    with pytest.raises(DataError, match="Valid tables: clim"):
        read_camels_attributes(camels_root, tables=["rivers"])
    with pytest.raises(DataError, match="no attributes of basin '99999999'"):
        read_camels_attributes(camels_root, ["99999999"])
    with pytest.raises(DataError, match="no attribute tables"):
        read_camels_attributes(tmp_path / "nowhere")
