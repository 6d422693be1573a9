"""Row groups and files that a filter rules out are not read, and what is left is shared evenly."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyarrow import parquet

import deeprc as rc
from deeprc.errors import DataError
from tests.ranks import run_on_ranks
from tests.table.budget import spilling

ROWS = pl.DataFrame(
    {
        "k": [None if row % 7 == 0 else row for row in range(4000)],
        "g": [f"{row // 100:03}" for row in range(4000)],
        "d": [dt.date(2020, 1, 1) + dt.timedelta(days=row // 50) for row in range(4000)],
        "x": [float("nan") if row % 500 == 3 else row / 2 for row in range(4000)],
    }
)
k, g, d, x = (pl.col(name) for name in "kgdx")
WHERE = {
    "above": (k > 3500,),
    "between": ((k >= 1000) & (pl.lit(1200) > k), x > 0),
    "equal": (g == "017",),
    "days": (d <= dt.date(2020, 1, 3),),
    "none": (k > 10_000,),
    "floats": (x > 1990,),  # NaN is larger: nothing is ruled out
    "plain floats": (x > 1800, x.is_not_nan()),
    "computed": (k % 1000 == 5, k < 2000),
    "either": ((k < 100) | (k > 3900),),
    "null": (k.is_null(), d > dt.date(2020, 3, 1)),
}


def _kept(comm: rc.Communicator, folder: str) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for name, predicates in WHERE.items():
        table = rc.scan_parquet(folder, comm).filter(*predicates)
        part = table.with_row_index().collect()
        heights = comm.all_gather(part.height)
        found[name] = (pl.concat(comm.all_gather(part)), heights, table.explain())
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_filters_skip_row_groups(size: int, tmp_path: Path) -> None:
    """Polars' rows in Polars' order, shared by the ranks though they lie in one corner of the files."""
    ROWS.head(2500).write_parquet(tmp_path / "a.parquet", row_group_size=100)
    ROWS.slice(2500).write_parquet(tmp_path / "b.parquet", row_group_size=70)
    for name, (rows, heights, plan) in run_on_ranks(_kept, str(tmp_path), size=size)[0].items():
        assert_frame_equal(rows, ROWS.filter(*WHERE[name]).with_row_index())
        assert ("by their statistics" in plan) == (size > 1), name
        if name in ("above", "equal", "days", "plain floats", "either") and size > 1:
            assert max(heights) < 0.75 * sum(heights), name


def _spoil(path: Path, groups: range) -> None:
    """Make the data of these row groups what nobody can read."""
    footer = parquet.ParquetFile(path).metadata
    with path.open("r+b") as file:
        for group in groups:
            for place in range(footer.num_columns):
                column = footer.row_group(group).column(place)
                start = column.dictionary_page_offset or column.data_page_offset
                file.seek(start)
                file.write(b"\xff" * column.total_compressed_size)


def _of_spoiled(comm: rc.Communicator, path: str, budget: bool) -> tuple[pl.DataFrame, str, str]:
    table = rc.scan_parquet(path, comm)
    kept = table.filter((g >= "030") & (k < 3600), d.dt.year() == 2020)
    with spilling(30_000) if budget else nullcontext():
        rows = kept.gather()
    try:
        table.filter(x < 3).gather()
    except DataError as error:
        return rows, kept.explain(), str(error)
    return rows, "", "could be read"


@pytest.mark.parametrize("budget", [False, True])
def test_row_groups_that_are_ruled_out_are_not_read(budget: bool, tmp_path: Path) -> None:
    """Their bytes are nonsense, which nobody notices, with a memory budget neither."""
    ROWS.write_parquet(tmp_path / "a.parquet", row_group_size=100)
    _spoil(tmp_path / "a.parquet", range(30))
    _spoil(tmp_path / "a.parquet", range(36, 40))
    rows, plan, error = run_on_ranks(_of_spoiled, str(tmp_path / "a.parquet"), budget, size=2)[0]
    assert_frame_equal(rows, ROWS.slice(3000, 600).filter(k.is_not_null()))
    assert ", 6 of 40 row groups by their statistics" in plan
    assert "a.parquet" in error


DAYS = ROWS.with_columns(year=k // 1000, half=pl.when(k % 1000 < 500).then(pl.lit("a/ b=c")), code=pl.lit("07"))
FOLDERS = ["year", "half", "code"]
OF_FOLDERS = {
    "year": pl.col("year") == 2,
    "not null": (pl.col("year") > 2) & pl.col("half").is_not_null(),
    "null": pl.col("half").is_null() & pl.col("year").is_in([1, 5]),
    "text": pl.col("half").str.starts_with("a/") & (k < 700),
    "none": pl.col("year") > 9,
    "both": (pl.col("year") == 1) | (k < 200),
}
WRITERS: dict[str, tuple[Callable[..., None], Callable[..., rc.Table], Callable[..., pl.LazyFrame]]] = {
    "parquet": (pl.DataFrame.write_parquet, rc.scan_parquet, pl.scan_parquet),
    "arrow": (pl.DataFrame.write_ipc, rc.scan_ipc, pl.scan_ipc),
    "csv": (pl.DataFrame.write_csv, rc.scan_csv, pl.scan_csv),
    "ndjson": (pl.DataFrame.write_ndjson, rc.scan_ndjson, pl.scan_ndjson),
}


def _by_folders(comm: rc.Communicator, folder: str, form: str) -> dict[str, tuple[pl.DataFrame, str]]:
    _, scan, _ = WRITERS[form]
    found = {}
    for name, predicate in OF_FOLDERS.items():
        table = scan(folder, comm).filter(predicate)
        files = sorted(Path(folder).rglob("*.*")) if name == "year" else []
        aside = {file: file.read_bytes() for file in files if "year=2" not in str(file)}
        comm.barrier()
        for file in aside if comm.rank == 0 else []:
            file.write_bytes(b"\xff\xffnonsense")
        comm.barrier()
        found[name] = (table.gather(), table.explain())
        for file, data in aside.items() if comm.rank == 0 else []:
            file.write_bytes(data)
        comm.barrier()
    return found


@pytest.mark.parametrize("form", WRITERS)
def test_files_in_folders_that_are_ruled_out_are_not_opened(form: str, tmp_path: Path) -> None:
    """Of any format; null, text with marks in it and numbers in folders' names are what Polars takes them for."""
    write, _, scan = WRITERS[form]
    rows = DAYS.drop_nulls("year").with_columns(d=pl.col("d").cast(pl.String)).drop("x")
    for values, part in rows.partition_by(FOLDERS, as_dict=True, include_key=False).items():
        texts = ["__HIVE_DEFAULT_PARTITION__" if value is None else quote(str(value), safe="") for value in values]
        folder = tmp_path / "/".join(f"{name}={text}" for name, text in zip(FOLDERS, texts, strict=True))
        folder.mkdir(parents=True)
        for half in (0, 1):
            write(part.slice(half * part.height // 2, part.height // 2), folder / f"{half}.{form}")
    table = _polars(tmp_path, scan, form)
    for name, (found, plan) in run_on_ranks(_by_folders, str(tmp_path), form, size=2)[0].items():
        assert_frame_equal(found, table.filter(OF_FOLDERS[name]), check_column_order=False)
        assert " of 16 files by their folders" in plan, name


def _polars(folder: Path, scan: Callable[..., pl.LazyFrame], form: str) -> pl.DataFrame:
    if form in ("parquet", "arrow"):
        return scan(folder, hive_partitioning=True).collect()
    return rc.scan_csv(folder).collect() if form == "csv" else rc.scan_ndjson(folder).collect()
