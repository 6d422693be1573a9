"""Datasets: every type survives, parts keep their order, and a dataset moves by reference."""

from __future__ import annotations

import json
import pickle
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.bridge import Dataset, dataset_root
from tests.bridge.frames import COLUMNS, numbers


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("rows", [3, 0])
def test_every_type_round_trips(name: str, rows: int) -> None:
    """A column comes back with the very type and values that were written, whichever way it is read."""
    frame = COLUMNS[name].to_frame().head(rows)
    dataset = Dataset.from_polars(frame)
    assert dataset.schema == frame.schema
    for read in (dataset.to_polars(), dataset.scan().collect(), dataset.scan().collect(engine="streaming")):
        assert read.schema == frame.schema
        assert_frame_equal(read, frame)
    if frame.dtypes[0] not in (pl.Int128, pl.UInt128):
        arrow = dataset.to_arrow()
        arrow.validate(full=True)
        assert_frame_equal(pl.DataFrame(pl.from_arrow(arrow)), frame)


def test_128_bit_integers_are_refused_by_arrow_alone() -> None:
    """pyarrow has no such type: the error says what to do, and Polars reads the file all the same."""
    frame = numbers(3, wide=pl.Series([1, 2, 2**100], dtype=pl.Int128))
    dataset = Dataset.from_polars(frame)
    assert_frame_equal(dataset.to_polars(), frame)
    assert {entry.mode for entry in dataset.ledger()} == {"copied"}
    for convert in (dataset.to_arrow, lambda: dataset.to_torch(["count"])):
        with pytest.raises(rc.DeepRCError, match=r"pyarrow lacks the type.*Cast 128-bit integers"):
            convert()


def test_chosen_columns_are_read() -> None:
    """In the order asked for, with a refusal of unknown ones; 128-bit integers beside them do no harm."""
    for frame in (numbers(3), numbers(3, wide=pl.Series([1, 2, 3], dtype=pl.Int128))):
        dataset = Dataset.from_polars(frame)
        assert_frame_equal(dataset.to_polars(["level", "count"]), frame.select("level", "count"))
        assert [entry.column for entry in dataset.ledger()] == ["level", "count"]
        with pytest.raises(rc.DeepRCError, match=r"no column 'x'. Valid columns: count, level"):
            dataset.to_polars(["x"])


def test_a_frame_without_columns() -> None:
    """A frame of nothing is a dataset of nothing."""
    assert Dataset.from_polars(pl.DataFrame()).to_polars().shape == (0, 0)


def test_a_frame_of_many_chunks_is_one_record_batch() -> None:
    """Only then is each column one piece of memory."""
    frame = pl.concat([numbers(10), numbers(300_000), numbers(1)], rechunk=False)
    dataset = Dataset.from_polars(frame)
    assert dataset.to_arrow()["count"].num_chunks == 1
    assert_frame_equal(dataset.to_polars(), frame)


def test_lazy_frames_are_computed() -> None:
    """A LazyFrame is collected and written."""
    assert Dataset.from_polars(numbers(10).lazy().filter(pl.col("count") > 6)).num_rows == 3


def test_a_dataset_moves_by_reference() -> None:
    """Its pickle holds paths and no rows, and the ledger stays behind."""
    dataset = Dataset.from_polars(numbers(100_000))
    dataset.to_numpy()
    pickled = pickle.dumps(dataset)
    copy = pickle.loads(pickled)
    assert len(pickled) < 1000
    assert (copy, copy.ledger()) == (dataset, [])
    assert_frame_equal(copy.to_polars(), dataset.to_polars())


def test_a_manifest_may_be_moved_with_its_parts(tmp_path: Path, root: Path) -> None:
    """A run directory that was moved still opens."""
    frame = numbers()
    manifest = Path(Dataset.from_polars(frame, name="flows").manifest)
    shutil.move(root, tmp_path / "moved")
    dataset = Dataset.open(tmp_path / "moved" / manifest.name)
    assert dataset.name == "flows"
    assert_frame_equal(dataset.to_polars(), frame)


def test_the_manifest_says_what_is_inside() -> None:
    """A person, or another program, can read it."""
    dataset = Dataset.from_polars(numbers(7), name="flows")
    manifest = json.loads(Path(dataset.manifest).read_text())
    assert manifest["name"] == "flows"
    assert manifest["columns"] == {"count": "Int64", "level": "Float64"}
    assert manifest["num_rows"] == 7
    assert dataset.num_bytes == manifest["parts"][0]["num_bytes"] == Path(dataset.parts[0].path).stat().st_size


def test_files_are_private_and_their_names_unique() -> None:
    """Two datasets of one name never meet, whatever the name holds."""
    one, other = (Dataset.from_polars(numbers(n), name="../my table/1") for n in (1, 2))
    assert (one.num_rows, other.num_rows) == (1, 2)
    files = list(dataset_root().iterdir())
    assert len(files) == 4
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert stat.S_IMODE(dataset_root().stat().st_mode) == 0o700


def test_merge_keeps_order_and_takes_each_part_once() -> None:
    """What ranks return becomes one dataset, also if all return the same one."""
    one, two = (Dataset.from_polars(numbers(n), name=f"d{n}") for n in (2, 3))
    merged = Dataset.merge([two, one, two])
    assert_frame_equal(merged.to_polars(), pl.concat([numbers(3), numbers(2)]))
    assert Dataset.open(merged.manifest) == merged
    assert Dataset.merge([merged, merged]) == merged
    assert Dataset.merge([merged.part(rank, 5) for rank in range(5)]).num_rows == 5


def test_merge_refuses_different_columns() -> None:
    """The error names both sides."""
    one, two = Dataset.from_polars(numbers(2), name="one"), Dataset.from_polars(pl.DataFrame({"x": [1]}), name="two")
    with pytest.raises(rc.DeepRCError, match=r"same columns: one has .*count.*, two has .*x"):
        Dataset.merge([one, two])
    with pytest.raises(rc.DeepRCError, match="at least one"):
        Dataset.merge([])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_of_all_ranks_are_the_rows(size: int) -> None:
    """Every row goes to one rank, in order, evenly; nested shares and lazy reads included."""
    dataset = Dataset.merge([Dataset.from_polars(numbers(n)) for n in (3, 0, 2)])
    shares = [dataset.part(rank, size) for rank in range(size)]
    assert_frame_equal(pl.concat([share.to_polars() for share in shares]), dataset.to_polars())
    assert_frame_equal(pl.concat([share.scan().collect() for share in shares]), dataset.to_polars())
    assert sum(share.to_numpy()["count"].sum() for share in shares) == dataset.to_numpy()["count"].sum()
    if size != 3:
        assert max(share.num_rows for share in shares) - min(share.num_rows for share in shares) <= 1
    halves = [share.part(half, 2) for share in shares for half in range(2)]
    assert_frame_equal(pl.concat([half.to_polars() for half in halves]), dataset.to_polars())


def test_whole_parts_go_to_as_many_ranks() -> None:
    """What rank r wrote, rank r of the next task reads."""
    dataset = Dataset.merge([Dataset.from_polars(numbers(n)) for n in (5, 1)])
    assert [dataset.part(rank, 2).num_rows for rank in range(2)] == [5, 1]
    with pytest.raises(rc.DeepRCError, match="rank 2 is none of the 2 ranks"):
        dataset.part(2, 2)


def test_the_default_root_goes_away_with_its_process() -> None:
    """Outside a run nothing is left behind; a forked child does not take its parent's files away."""
    script = """
        import os, polars as pl, sys
        from deeprc.bridge import Dataset, dataset_root
        dataset = Dataset.from_polars(pl.DataFrame({"a": [1, 2]}))
        if os.fork() == 0:
            sys.exit(0)
        os.wait()
        print(dataset_root(), oct(dataset_root().stat().st_mode)[-3:], dataset.to_polars().height)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    path, mode, height = run.stdout.split()
    assert (mode, height) == ("700", "2")
    assert not Path(path).exists()


def test_the_import_stays_light() -> None:
    """The bridge brings no framework before it is asked for one."""
    script = """
        import sys, deeprc.bridge
        heavy = {"torch", "tensorflow", "keras", "pandas", "pyarrow.dataset", "mpi4py"} & set(sys.modules)
        sys.exit(", ".join(heavy) or None)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
