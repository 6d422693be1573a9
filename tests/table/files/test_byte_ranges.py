"""A text file split at bytes gives each line once, whatever is quoted; a file that can't be read is named."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.table.files import byte_ranges
from deeprc.table.files.byte_ranges import Piece, chunks, next_line
from tests.ranks import run_on_ranks

TYPES = {"the id": pl.Int64, "text": pl.String, "num\nber": pl.Int64}
TEXTS = ["", "plain", '"two\nlines"', '"a ""quoted"" word,\n\n"', '"\r\n"', '",,"', "ünï"]


def csv_text(rows: int, seed: int, line_end: str = "\n") -> str:
    """Lines of many lengths, with separators, quotes and line ends in quoted texts."""
    dice = random.Random(seed)
    lines = [f"{row},{dice.choice(TEXTS)},{dice.randrange(10 ** dice.randrange(9))}" for row in range(rows)]
    return line_end.join(['"the id",text,"num\nber"', *lines]) + line_end


@contextmanager
def chunks_of(size: int) -> Iterator[None]:
    """Small chunks, so that a small file has many."""
    usual = byte_ranges.CHUNK_BYTES
    byte_ranges.CHUNK_BYTES = size
    try:
        yield
    finally:
        byte_ranges.CHUNK_BYTES = usual


def _read(comm: rc.Communicator, files: list[Path], chunk: int, options: dict[str, Any]) -> list[Any]:
    results: list[Any] = []
    with chunks_of(chunk):
        for file in files:
            scan = rc.scan_ndjson if file.suffix == ".ndjson" else rc.scan_csv
            table = scan(file, comm, split="bytes", **options)
            narrow = table.filter(pl.col(table.columns[0]).cast(pl.Int64) % 3 == 1).select(table.columns[:2])
            results.append((table.collect().height, table.gather(), narrow.gather(), table.head(7).gather()))
    return results


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("chunk", [40, 1 << 20])
def test_lines_are_read_once(size: int, chunk: int, tmp_path: Path) -> None:
    """Quoted line ends, both kinds of line end, no last line end, one line, no rows, and more ranks than lines."""
    texts = {
        "many": csv_text(200, 1),
        "windows": csv_text(60, 2, "\r\n"),
        "unended": csv_text(50, 3).rstrip("\n"),
        "one": csv_text(1, 4),
        "none": csv_text(0, 5),
        "long": csv_text(9, 6) + '9,"' + "x\n" * 300 + '",1\n10,,2\n',
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text, newline="")
    files = [tmp_path / f"{name}.csv" for name in texts]
    results = run_on_ranks(_read, files, chunk, {}, size=size)
    for number, file in enumerate(files):
        whole = pl.read_csv(file)
        for rank in range(size):
            _, everything, narrow, head = results[rank][number]
            assert_frame_equal(everything, whole)
            assert_frame_equal(head, whole.head(7))
            if whole.height:
                assert_frame_equal(narrow, whole.filter(pl.col("the id") % 3 == 1).select("the id", "text"))
    heights = [result[0][0] for result in results]
    assert sum(heights) == 200 and min(heights) > 0.5 * 200 / size


def _read_options(comm: rc.Communicator, file: Path, folder: Path, packed: Path) -> list[pl.DataFrame]:
    options: dict[str, Any] = {"separator": ";", "quote_char": None, "null_values": "NA", "decimal_comma": True}
    return [
        rc.scan_csv(file, comm, split="bytes", has_header=False, new_columns=["n", "s", "x"], **options).gather(),
        rc.scan_csv(file, comm, split="bytes", has_header=False, **options).gather(),
        rc.scan_csv(file, comm, split="bytes", has_header=False, row_index_name="row", **options).gather(),
        rc.scan_csv(file, comm, split="bytes", has_header=False, skip_rows=3, n_rows=20, **options).gather(),
        rc.scan_csv(file, comm, split="bytes", has_header=False, comment_prefix="1", **options).gather(),
        rc.scan_csv(folder, comm, split="bytes", schema_overrides=TYPES).gather(),
        rc.scan_csv(packed, comm, split="bytes").gather(),
        rc.scan_csv(folder / "b.csv", comm, split="bytes", quote_char="'").gather(),
    ]


def test_options_and_packed_files(tmp_path: Path) -> None:
    """Options mean what they mean to Polars; what can't be split by bytes is split by rows."""
    file, folder, packed = tmp_path / "plain.txt", tmp_path / "folder", tmp_path / "packed.csv.gz"
    file.write_text("".join(f'{row};a "{row % 3};{"NA" if row % 5 == 0 else f"{row},5"}\n' for row in range(70)))
    folder.mkdir()
    (folder / "a.csv").write_text(csv_text(30, 7))
    (folder / "b.csv").write_text(csv_text(0, 7))
    (folder / "c.csv").write_text(csv_text(40, 8))
    with gzip.open(packed, "wt") as archive:
        archive.write(csv_text(40, 9))
    options: dict[str, Any] = {"separator": ";", "quote_char": None, "null_values": "NA", "decimal_comma": True}
    wanted = [
        pl.read_csv(file, has_header=False, new_columns=["n", "s", "x"], **options),
        pl.read_csv(file, has_header=False, **options),
        pl.read_csv(file, has_header=False, row_index_name="row", **options),
        pl.read_csv(file, has_header=False, skip_rows=3, n_rows=20, **options),
        pl.read_csv(file, has_header=False, comment_prefix="1", **options),
        pl.read_csv([folder / f"{name}.csv" for name in "abc"], schema_overrides=TYPES),
        pl.read_csv(packed),
        pl.read_csv(folder / "b.csv", quote_char="'"),
    ]
    for result in run_on_ranks(_read_options, file, folder, packed, size=3):
        for got, right in zip(result, wanted, strict=True):
            assert_frame_equal(got, right)


@pytest.mark.parametrize("size", [2, 3])
def test_ndjson(size: int, tmp_path: Path) -> None:
    """Line ends in texts are escaped there, so that every line end is one."""
    whole = pl.DataFrame({"n": range(90), "s": [f'{row}\n"{"x" * (row % 7)}' for row in range(90)]})
    file = tmp_path / "rows.ndjson"
    whole.write_ndjson(file)
    for ((_, everything, narrow, head),) in run_on_ranks(_read, [file], 50, {}, size=size):
        assert_frame_equal(everything, whole)
        assert_frame_equal(narrow, whole.filter(pl.col("n") % 3 == 1))
        assert_frame_equal(head, whole.head(7))


@pytest.mark.parametrize("text", [csv_text(20, 10), "a,b\n" * 5, '"' * 6 + "\n" + 'a"\nb"\n\nc', ""])
def test_every_byte_is_in_one_line(text: str, tmp_path: Path) -> None:
    """From any byte on the next line is found that a reader from the beginning finds; chunks are the file again."""
    file = tmp_path / "text.csv"
    file.write_text(text, newline="")
    content = file.read_bytes()
    starts = [0]
    for place in range(len(content)):
        if content[place : place + 1] == b"\n" and content.count(b'"', 0, place) % 2 == 0:
            starts.append(place + 1)
    for offset in range(len(content) + 1):
        wanted = next((start for start in starts if start >= offset), len(content))
        inside = content.count(b'"', 0, offset) % 2 == 1
        assert next_line(str(file), offset, b'"', inside=inside) == wanted
    with chunks_of(7):
        parts = list(chunks(Piece(str(file), 0, len(content)), b'"'))
    assert b"".join(lines for _, lines in parts) == content
    assert all(start in starts for start, _ in parts)


def _faults(comm: rc.Communicator, folder: Path) -> list[str]:
    def fails(name: str, **options: Any) -> str:
        scan = {"csv": rc.scan_csv, "parquet": rc.scan_parquet, "arrow": rc.scan_ipc, "ndjson": rc.scan_ndjson}
        try:
            table = scan[name.rpartition(".")[2]](folder / name, comm, **options)
            return f"read {table.sort(table.columns[0]).gather().height}"
        except rc.DeepRCError as error:
            return f"{type(error).__name__}: {error}"

    with chunks_of(500):
        return [
            fails("bad*.csv", split="bytes"),
            fails("bad*.csv", split="rows"),
            fails("bad.ndjson", split="bytes"),
            fails("bad.ndjson", split="rows"),
            fails("cut*.parquet"),
            fails("damaged.parquet"),
            fails("cut.arrow"),
            fails("unpaired.csv", split="bytes"),
        ]


@pytest.mark.parametrize("size", [1, 3])
def test_bad_files_are_named(size: int, tmp_path: Path) -> None:
    """All ranks name the file, and the line or the rows where that is known; the ranks stay in step."""
    good = "n,s\n" + "".join(f"{row},text {row}\n" for row in range(400))
    (tmp_path / "bad1.csv").write_text(good)
    (tmp_path / "bad2.csv").write_text(good + "400,x\nfour hundred and one,x\n402,x\n")
    lines = "".join(f'{{"n": {row}}}\n' for row in range(400))
    (tmp_path / "bad.ndjson").write_text(lines + '{"n": \n' + lines)
    rows = pl.DataFrame({"n": range(5000)}).with_columns(s=pl.col("n").cast(pl.String))
    rows.write_parquet(tmp_path / "cut1.parquet")
    (tmp_path / "cut2.parquet").write_bytes((tmp_path / "cut1.parquet").read_bytes()[:-20])
    rows.write_parquet(tmp_path / "damaged.parquet", row_group_size=1000)
    content = bytearray((tmp_path / "damaged.parquet").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = b"\xff" * 2000
    (tmp_path / "damaged.parquet").write_bytes(content)
    rows.write_ipc(tmp_path / "cut.arrow")
    (tmp_path / "cut.arrow").write_bytes((tmp_path / "cut.arrow").read_bytes()[:-50])
    (tmp_path / "unpaired.csv").write_text('n,s\n1,"a\n2,b\n')
    for bad, bad_rows, ndjson, ndjson_rows, cut, damaged, arrow, unpaired in run_on_ranks(_faults, tmp_path, size=size):
        for message in (bad, bad_rows):
            assert "bad2.csv, line 403" in message and "four hundred and one" in message
        for message in (ndjson, ndjson_rows):
            assert "bad.ndjson, line 401" in message
        assert "cut2.parquet" in cut and "cut1.parquet" not in cut
        assert "damaged.parquet, of whose 5000 rows the first" in damaged and "can be read" in damaged
        assert "cut.arrow" in arrow
        assert "unpaired.csv, line 2" in unpaired
        for message in (bad, ndjson, cut, damaged, arrow):
            assert message.startswith("DataError")
