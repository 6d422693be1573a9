"""The river records of spotpy, read as they are meant."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from deeprc.errors import DataError
from deeprc.workloads.hydrology.rivers import RIVERS, read_fulda, read_leaf_river, read_river, river_files


def test_fulda() -> None:
    """Ten whole years, no gap, in the ranges of a low mountain river."""
    record = read_fulda(river_files()["Fulda"])
    assert record.height == 3653
    assert (record["date"][0], record["date"][-1]) == (date(1979, 1, 1), date(1988, 12, 31))
    assert record["date"].diff().drop_nulls().dt.total_days().unique().to_list() == [1]
    assert record.row(0) == (date(1979, 1, 1), 143.0, 1.0, -16.5, -20.1, -12.9)
    assert record.null_count().sum_horizontal().item() == 0
    assert (record["discharge_m3s"].min(), record["discharge_m3s"].max()) == (8.55, 360.0)
    assert (record["tmin"] <= record["tmax"]).all()


def test_leaf_river() -> None:
    """Ten years and two months, no gap; rain is the sum of the four steps of a day."""
    record = read_leaf_river(river_files()["Leaf River"])
    assert record.height == 3717
    assert (record["date"][0], record["date"][-1]) == (date(1952, 7, 28), date(1962, 9, 30))
    assert record["date"].diff().drop_nulls().dt.total_days().unique().to_list() == [1]
    assert record.row(0) == (date(1952, 7, 28), 2.3503, pytest.approx(2.6534 + 1.3484 + 13.2207), 6.7965)
    assert record["discharge_m3s"].max() == pytest.approx(1313.9146)


def test_the_columns_make_hydrological_sense(rivers: pl.DataFrame) -> None:
    """A third to two fifths of the rain runs off, and less evaporates than could; summers evaporate more."""
    for (basin,), river in rivers.group_by("basin"):
        rain, runoff, pet = (river[name].mean() * 365.25 for name in ("precipitation", "discharge", "pet"))
        assert 0.3 < runoff / rain < 0.45, basin
        assert rain - runoff < pet, basin
        by_month = dict(river.group_by(pl.col("date").dt.month()).agg(pl.col("pet").mean()).iter_rows())
        assert by_month[7] > 2 * by_month[12], basin
        with_lag = river.select(pl.corr(pl.col("precipitation").shift(2), "discharge")).item()
        assert with_lag > 0.2, basin


def test_static_attributes_come_with_the_record() -> None:
    """Every row names its river, and the area and latitude of its catchment."""
    record = read_river("Leaf River", river_files()["Leaf River"])
    assert record.select("basin", "area_km2", "latitude_deg").unique().rows() == [("Leaf River", 1944.0, 31.9)]
    with pytest.raises(DataError, match="Did you mean 'Fulda'"):
        read_river("Fluda", "fulda.csv")


def test_spotpy_is_not_imported() -> None:
    """Finding and reading the records loads neither spotpy nor a deep learning library."""
    code = (
        "import sys\n"
        "from deeprc.workloads.hydrology import read_river, river_files\n"
        "for name, path in river_files().items(): read_river(name, path)\n"
        "print(sorted({'spotpy', 'tensorflow', 'keras', 'torch', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


FULDA = "date,tmax,tmin,tmean,Prec,Q\n#,°C,°C,°C,mm/day,m³/s\n01.01.1979,1,-1,0,2,30\n02.01.1979,1,-1,0,2,31\n"
LEAF = "  28 7 1952 2.35 6.79 0 2.65 1.34 13.2\n  29 7 1952 2.37 5.17 0.1 0.2 1.5 4.6\n"


@pytest.mark.parametrize(
    ("read", "text", "broken", "complaint"),
    [
        (read_fulda, FULDA, ("02.01.1979", "30.02.1979"), "row 4: is not a date: '30.02.1979'"),
        (read_fulda, FULDA, ("02.01.1979", "01.01.1979"), "row 4: repeats a day"),
        (read_fulda, FULDA, ("2,31", "2,n/a"), "row 4: discharge_m3s is not a number: 'n/a'"),
        (read_fulda, FULDA, (",30", ""), "row 3: does not have the 6 fields"),
        (read_fulda, FULDA, ("Prec", "Snow"), "row 1: is not the header"),
        (read_fulda, FULDA, (FULDA, ""), "holds no rows"),
        (read_leaf_river, LEAF, ("29 7", "31 6"), "row 2: is not a date"),
        (read_leaf_river, LEAF, ("5.17", "NaN"), "row 2: pet is not a number: 'NaN'"),
        (read_leaf_river, LEAF, (" 13.2", ""), "row 1: does not have the 9 fields"),
    ],
)
def test_a_bad_file_is_refused(
    tmp_path: Path, read: Callable[[Path], pl.DataFrame], text: str, broken: tuple[str, str], complaint: str
) -> None:
    """The message names the file, the row and what stands there; the file as it was is read."""
    path = tmp_path / "record.txt"
    path.write_text(text)
    assert read(path).height == 2
    path.write_text(text.replace(*broken))
    with pytest.raises(DataError) as refusal:
        read(path)
    assert str(path) in str(refusal.value)
    assert complaint in str(refusal.value)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    """So is one that is not text."""
    with pytest.raises(DataError, match="absent"):
        read_fulda(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as text"):
        read_fulda(tmp_path / "binary.csv")


def test_rivers_are_known_by_name() -> None:
    """Each river's file is there, and its entry names it."""
    assert {name: river.name for name, river in RIVERS.items()} == {name: name for name in river_files()}
