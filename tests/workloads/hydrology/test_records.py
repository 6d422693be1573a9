"""River records of one's own, however their files were written, become the table that a model reads."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import DataError, SpecError, TaskFailedError
from deeprc.workloads.hydrology import read_records
from tests.ranks import run_on_ranks

COLUMNS = {"date": "day", "discharge_m3s": "Q", "precipitation": "P", "tmean": "T"}
ATTRIBUTES = {"Ohm": {"area_km2": 86.4, "latitude_deg": 51.0}, "Lahn": {"area_km2": 864.0, "latitude_deg": 50.8}}
PLAIN = "day,Q,P,T\n2001-01-01,1.0,0.5,3\n2001-01-02,2.0,0,4\n2001-01-05,3.0,1.5,7\n"


def read(folder: Path | str, **changes: Any) -> pl.DataFrame:
    settings = {"columns": COLUMNS, "attributes": ATTRIBUTES, **changes}
    return read_records(folder, SoloCommunicator(), **settings).to_polars()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two rivers, a file each: one plain, the other as spreadsheets leave it, packed."""
    (tmp_path / "Ohm.csv").write_text(PLAIN)
    text = "\ufeff# station 17\n\nday;Q;P;T;remark\n03.01.2001;2,5;-999;1;ok\n01.01.2001;-999.0;0;NA;\n"
    (tmp_path / "Lahn.txt.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "._Ohm.csv").write_text("left by a Mac")
    return tmp_path


def test_plain_and_messy_files_give_one_table(folder: Path) -> None:
    """Separators, a byte order mark, comments, commas for points, gz, German dates, absent days: all are read."""
    frame = read(folder)
    assert frame.columns == ["basin", "date", "area_km2", "latitude_deg", "discharge", "precipitation", "tmean", "pet"]
    lahn, ohm = frame.filter(basin="Lahn"), frame.filter(basin="Ohm")
    assert ohm["date"].to_list() == [date(2001, 1, day) for day in range(1, 6)]
    assert ohm["discharge"].to_list() == [1.0, 2.0, None, None, 3.0]
    assert ohm["tmean"].to_list() == [3, 4, 5, 6, 7]
    assert lahn["discharge"].to_list() == [None, None, pytest.approx(0.25)]
    assert lahn["precipitation"].to_list() == [0.0, None, None]
    assert frame["pet"].drop_nulls().min() > 0  # type: ignore[operator]


def test_one_file_of_all_rivers_and_a_file_of_attributes(tmp_path: Path) -> None:
    """Rivers may share a file, and attributes come from one under its own names; text among them is left out."""
    rows = [f"{river}\t{line}" for river in ("01", "02") for line in PLAIN.replace(",", "\t").splitlines()[1:]]
    (tmp_path / "all.tsv").write_text("\n".join(["gauge\tday\tQ\tP\tT", *rows]))
    (tmp_path / "gauges.csv").write_text("id,town,km2\n01,Kirchhain,86.4\n02,Marburg,172.8\n")
    columns = {**COLUMNS, "basin": "gauge"}
    names = {"basin": "id", "area_km2": "km2"}
    frame = read(tmp_path / "all.tsv", columns=columns, attributes=tmp_path / "gauges.csv", attribute_columns=names)
    assert frame.filter(date=date(2001, 1, 2)).select("basin", "discharge").rows() == [("01", 2.0), ("02", 1.0)]
    with pytest.raises(DataError, match=r"say which column names the river: attribute_columns=\{'basin': 'id'"):
        read(tmp_path / "all.tsv", columns=columns, attributes=tmp_path / "gauges.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN.replace("2001-01-02", "2001-02-30"), r"Ohm\.csv, row 3: is not a date: '2001-02-30'"),
        (PLAIN.replace("2001-01-02", "2001-01-01"), r"Ohm\.csv, row 3: repeats a day"),
        (
            PLAIN.replace("01-01,1.0", "01-01,one"),
            r"row 2: discharge_m3s is neither a number nor one of missing=.*'one'",
        ),
        (PLAIN + "2001-01-06,4.0", r"row 5: does not have the 4 fields day, Q, P, T"),
        (PLAIN.replace("Q", "flow"), r"row 1: no column 'Q' \(discharge_m3s\)"),
        (PLAIN.replace("2001-01-01", "01/02/2001"), r"date is '01/02/2001'; say how it is written: date_format"),
        ("", "is empty"),
    ],
)
def test_what_cannot_be_understood_is_named(folder: Path, text: str, message: str) -> None:
    """A wrong date, a day twice, words for numbers, a file cut short: file, row and value are told."""
    (folder / "Ohm.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read(folder)


def test_files_and_attributes_that_are_not_there(folder: Path) -> None:
    """No files, a packed file cut short, a river without attributes or area, and columns left out are refused."""
    with pytest.raises(DataError, match=r"no files there that end in \.csv"):
        read(f"{folder}/*.xlsx")
    with pytest.raises(DataError, match="'Lahn' has no row in the attributes"):
        read(folder, attributes={"Ohm": ATTRIBUTES["Ohm"]})
    with pytest.raises(DataError, match="needs the attribute area_km2"):
        read(folder, attributes=None)
    with pytest.raises(SpecError, match="name the discharge"):
        read(folder, columns={"date": "day"})
    packed = folder / "Lahn.txt.gz"
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"Lahn\.txt\.gz: cannot be read"):
        read(folder)


def _read(comm: Communicator, folder: str) -> list[Any]:
    return read_records(folder, comm, columns=COLUMNS, attributes=ATTRIBUTES).to_polars().rows()


def test_ranks_share_the_files(folder: Path) -> None:
    """On three ranks, one of them without a file, the table is that of one; a bad file is told by all."""
    assert run_on_ranks(_read, str(folder), size=3)[0] == read(folder).rows()
    (folder / "Ohm.csv").write_text(PLAIN + "x")
    with pytest.raises(TaskFailedError, match=r"Ohm\.csv, row 5"):
        run_on_ranks(_read, str(folder), size=2)
