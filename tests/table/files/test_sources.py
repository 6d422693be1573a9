"""Files are read once, evenly, in order, by however many ranks; what was written comes back."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.errors import DataError
from tests.ranks import run_on_ranks
from tests.table.data import frames

ROWS = 101


def lines(start: int, rows: int) -> str:
    """CSV whose quoted texts hold separators and line ends, and whose last column is empty at first."""
    body = "".join(
        f'{row},"text {row}\nwith, ""all"" of it",{row / 4 if row > 20 else ""}\n' for row in range(start, start + rows)
    )
    return "id,text,value\n" + body


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten files of the same columns, in several packings."""
    (tmp_path / "one.csv").write_text(lines(0, ROWS))
    with gzip.open(tmp_path / "packed.csv.gz", "wt") as file:
        file.write(lines(0, ROWS))
    with zipfile.ZipFile(tmp_path / "packed.csv.zip", "w") as archive:
        archive.writestr("packed.csv", lines(0, ROWS))
    many = tmp_path / "many"
    many.mkdir()
    for part, (start, rows) in enumerate([(0, 3), (3, 0), (3, 60), (63, 1), (64, 37)]):
        (many / f"part{part}.csv").write_text(lines(start, rows))
    (tmp_path / "empty.csv").write_text("id,text,value\n")
    (tmp_path / "nothing.csv").write_text("")
    for part in range(3):
        frames()["mixed"].drop("c").slice(part * 70, 70).write_parquet(many / f"part{part}.parquet")
    return tmp_path


def _csv(comm: rc.Communicator, source: Any, options: dict[str, Any]) -> tuple[int, pl.DataFrame, pl.Schema]:
    table = rc.scan_csv(source, comm, **options)
    part = table.collect()
    return part.height, table.filter(pl.col("id") % 2 == 0).gather(), table.schema


SOURCES = {
    "one": "one.csv",
    "gzip": "packed.csv.gz",
    "zip": "packed.csv.zip",
    "folder": "many",
    "pattern": "many/part*.csv",
    "list": ["many/part0.csv", "many/part1.csv", "many/part2.csv", "many/part3.csv", "many/part4.csv"],
    "empty": "empty.csv",
}


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("name", list(SOURCES))
def test_csv(folder: Path, name: str, size: int) -> None:
    """All rows, once, in order, in even shares, with one schema for all."""
    given = SOURCES[name]
    source = [folder / item for item in given] if isinstance(given, list) else folder / given
    # Polars takes a column without values for text, so a header alone does not say what its columns are.
    types = {"id": pl.Int64, "value": pl.Float64} if name in ("folder", "pattern", "list", "empty") else None
    results = run_on_ranks(_csv, source, {"schema_overrides": types}, size=size)
    whole = pl.read_csv(folder / ("empty.csv" if name == "empty" else "one.csv"), schema_overrides=types)
    heights = [height for height, _, _ in results]
    assert sum(heights) == whole.height
    assert max(heights) - min(heights) <= 1
    for _, even, schema in results:
        assert schema == results[0][2]
        assert_frame_equal(even, whole.filter(pl.col("id") % 2 == 0) if whole.height else even.clear())


@pytest.mark.parametrize("size", [1, 3])
def test_csv_options(folder: Path, size: int) -> None:
    """Polars' options mean the same for all rows together: row numbers, a limit, types."""
    options = {
        "row_index_name": "row",
        "n_rows": 70,
        "schema_overrides": {"id": pl.Int64, "value": pl.Float32},
        "separator": ",",
    }
    source = sorted((folder / "many").glob("*.csv"))
    table = run_on_ranks(_csv, source, options, size=size)[0][1]
    whole = pl.read_csv(folder / "one.csv", **options).filter(pl.col("id") % 2 == 0)
    assert_frame_equal(table, whole, check_dtypes=True)


def _parquet(comm: rc.Communicator, source: Path, target: Path) -> tuple[pl.DataFrame, list[Path], pl.DataFrame]:
    table = rc.scan_parquet(source, comm)
    paths = table.sort("i", "k", maintain_order=True).write_parquet(target)
    return table.gather(), paths, rc.scan_parquet(target, comm).gather()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_parquet(folder: Path, size: int) -> None:
    """Parquet files are read evenly; written ones hold the table in order, and no unfinished file stays."""
    target = folder / "out"
    whole = frames()["mixed"].drop("c")
    for read, paths, again in run_on_ranks(_parquet, folder / "many", target, size=size):
        assert_frame_equal(read, whole)
        assert [path.name for path in paths] == [f"part-{rank:05d}.parquet" for rank in range(size)]
        assert_frame_equal(again, whole.sort("i", "k", maintain_order=True))
    assert sorted(target.iterdir()) == sorted(paths)


def _folders(comm: rc.Communicator, folder: Path) -> tuple[pl.DataFrame, pl.Schema]:
    table = rc.scan_parquet(folder, comm)
    return table.gather(), table.schema


def test_columns_from_folder_names(tmp_path: Path) -> None:
    """Values that stand in folders' names have one type on all ranks, though one rank sees only numbers."""
    for site, rows in (("1", 9), ("2", 1), ("north", 3)):
        folder = tmp_path / f"site={site}"
        folder.mkdir()
        pl.DataFrame({"row": range(rows)}).write_parquet(folder / "part.parquet")
    whole = pl.scan_parquet(tmp_path, hive_partitioning=True).collect()
    for rows, schema in run_on_ranks(_folders, tmp_path, size=3):
        assert schema["site"] == pl.String
        assert_frame_equal(rows, whole)


def _persisted(comm: rc.Communicator) -> tuple[rc.Dataset, pl.DataFrame]:
    table = rc.from_polars(frames()["mixed"] if comm.rank == 0 else None, comm)
    dataset = table.sort("i", "k", maintain_order=True).persist("rows")
    return dataset, rc.scan_dataset(dataset, comm).gather()


def _scanned(comm: rc.Communicator, dataset: rc.Dataset) -> tuple[int, pl.DataFrame]:
    table = rc.scan_dataset(dataset, comm)
    return table.collect().height, table.gather()


def test_dataset() -> None:
    """Persisted rows come back, on as many ranks and on others, in order."""
    whole = frames()["mixed"].sort("i", "k", maintain_order=True)
    results = run_on_ranks(_persisted, size=2)
    dataset = results[0][0]
    assert dataset.num_rows == whole.height
    assert len(dataset.parts) == 2
    for result in results:
        assert_frame_equal(result[1], whole, categorical_as_str=True)
    scanned = run_on_ranks(_scanned, dataset, size=3)
    assert [height for height, _ in scanned] == [66, 67, 67]
    assert_frame_equal(scanned[0][1], whole, categorical_as_str=True)


def test_unreadable_files_are_named(folder: Path) -> None:
    """An empty file, a broken archive and one of two files, and a folder without tables."""
    (folder / "broken.csv.zip").write_text("no archive")
    with zipfile.ZipFile(folder / "two.csv.zip", "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
        archive.writestr("b.csv", "a\n1\n")
    for name, reason in [("nothing.csv", "empty"), ("broken.csv.zip", "not a zip"), ("two.csv.zip", "holds 2 files")]:
        with pytest.raises(DataError, match=reason) as caught:
            rc.scan_csv(folder / name)
        assert name in str(caught.value)
    (folder / "bare").mkdir()
    with pytest.raises(DataError, match="holds no file"):
        rc.scan_csv(folder / "bare")
    with pytest.raises(DataError, match="PARQUET"):
        rc.scan_parquet(folder / "one.csv")


def _lines_and_ipc(comm: rc.Communicator, folder: Path) -> list[tuple[int, pl.DataFrame]]:
    tables = [rc.scan_ndjson(folder / "*.ndjson", comm), rc.scan_ipc(folder, comm)]
    return [(table.collect().height, table.gather()) for table in tables]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ndjson_and_ipc(tmp_path: Path, size: int) -> None:
    """Even shares, in order, with the first file's types where another holds only nulls."""
    whole = frames()["mixed"].select("k", "g", "x", "l", "b").with_columns(pl.col("x").fill_nan(None))
    nulls = whole.select(pl.lit(None, dtype=dtype).alias(name) for name, dtype in whole.schema.items())
    parts = [whole.head(90), pl.concat([nulls] * 3), whole.tail(110)]
    for number, part in enumerate(parts):
        part.write_ndjson(tmp_path / f"part{number}.ndjson")
        part.write_ipc(tmp_path / f"part{number}.arrow")
    for result in zip(*run_on_ranks(_lines_and_ipc, tmp_path, size=size), strict=True):
        heights = [height for height, _ in result]
        assert sum(heights) == 203 and max(heights) - min(heights) <= 1
        assert_frame_equal(result[0][1], pl.concat(parts))
