"""A full disk is told with its path, and takes down no more than what needed it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import deeprc as rc
from deeprc.errors import JournalError, TaskFailedError
from deeprc.journal import JournalWriter, read_run
from tests.runtime import faults


def large(size: int) -> bytes:
    return b"x" * size


def dataset(comm: rc.Communicator, rows: int) -> rc.Dataset:
    return rc.Dataset.from_polars(pl.DataFrame({"x": range(rows)}), comm=comm)


def test_no_room_for_a_result(tmp_path: Path) -> None:
    """The task fails with the file's path; smaller results and later tasks go on; nothing half-written is left."""
    run = tmp_path / "run"
    with faults.tmpfs(run / "results", "4m"):
        with rc.Session(cores=2, run_dir=run) as session:
            with pytest.raises(TaskFailedError, match=r"could not be written to .*/results/.*No space left on device"):
                session.submit(large, 8 << 20).result(timeout=60)
            assert len(session.submit(large, 2 << 20).result(timeout=60)) == 2 << 20
            assert session.submit(large, 1).result(timeout=60) == b"x"
        assert not list((run / "results").glob("*.tmp"))


def test_no_room_for_a_dataset(tmp_path: Path) -> None:
    """On all its ranks alike, with the path; other tasks go on; nothing half-written is left."""
    run = tmp_path / "run"
    with faults.tmpfs(run / "datasets", "1m"):
        with rc.Session(cores=2, run_dir=run) as session:
            with pytest.raises(TaskFailedError, match=r"DataError: .*/datasets/.*No space left on device"):
                session.submit(dataset, 1_000_000, ranks=2, comm="gloo").result(timeout=60)
            assert session.submit(dataset, 10, ranks=2, comm="gloo").result(timeout=60).num_rows == 20
        assert not [path for path in (run / "datasets").rglob("*") if path.suffix == ".tmp"]
        assert sum(path.stat().st_size for path in (run / "datasets").rglob("*.arrow")) < 1 << 20


def joined(comm: rc.Communicator, folder: str) -> int:
    left, right = (rc.scan_parquet(f"{folder}/{side}/*.parquet", comm) for side in ("left", "right"))
    return sum(comm.all_gather(left.join(right, on="k").collect().height))


@pytest.mark.slow
def test_no_room_in_scratch(tmp_path: Path) -> None:
    """A table that does not fit in memory and finds no room on disk: on all ranks alike, with the folder; a join that
    fits goes on, and nothing stays in the folder."""
    run = tmp_path / "run"
    keys = pl.DataFrame({"k": range(4_000_000)})
    for size in ("large", "small"):
        for side in ("left", "right"):
            part = keys if size == "large" else keys.head(10)
            rc.from_polars(part.with_columns(pl.col("k").alias(side))).write_parquet(tmp_path / size / side)
    with faults.tmpfs(run / "scratch", "4m"):
        with rc.Session(cores=2, run_dir=run) as session:
            future = session.submit(joined, str(tmp_path / "large"), ranks=2, comm="gloo", memory="400MiB")
            with pytest.raises(TaskFailedError, match=r"DataError: .*/scratch.*No space left on device"):
                future.result(timeout=120)
            future = session.submit(joined, str(tmp_path / "small"), ranks=2, comm="gloo", memory="400MiB")
            assert future.result(timeout=60) == 10
        assert not list((run / "scratch").glob("*"))


def test_no_room_for_kept_results(tmp_path: Path) -> None:
    """A result that cannot be kept for a later run is a warning: this run has it."""
    run = tmp_path / "run"
    with faults.tmpfs(run / "results", "64k"):
        with rc.Session(cores=2, run_dir=run, keep_results=True) as session:
            assert len(session.submit(large, 500_000).result(timeout=60)) == 500_000
        told = [event["message"] for event in read_run(run).of_kind("warning")]
        assert any("could not be kept" in message and "No space left" in message for message in told)
        assert not list((run / "results").iterdir())


def test_no_room_for_the_journal(tmp_path: Path) -> None:
    """Tasks go on; the session ends all its processes, then says what is missing; each event is whole."""
    run = tmp_path / "run"
    with faults.tmpfs(run, "2m"):
        session = rc.Session(cores=2, run_dir=run)
        try:
            assert session.submit(large, 1).result(timeout=60) == b"x"
            filler = run / "filler"
            with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            results = [session.submit(large, number) for number in range(200)]
            assert [len(future.result(timeout=60)) for future in results] == list(range(200))
            agent = faults.agent_of(session)
            family = [agent, *agent.children(recursive=True)]
        finally:
            with pytest.raises(JournalError, match=r"events.jsonl: no space left for its last \d+ events"):
                session.close()
        assert faults.wait_until(lambda: not any(faults.alive(process.pid) for process in family), timeout_s=90)
        assert (run / "events.jsonl").read_bytes().endswith(b"\n")
        assert read_run(run).events[0]["kind"] == "run.started"


def test_the_journal_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """What waited in memory is written, in order, each event once."""
    run = tmp_path / "run"
    with faults.tmpfs(run, "64k"):
        writer = JournalWriter(run)
        filler = run / "filler"
        filler.write_bytes(bytes(48 << 10))
        for number in range(2000):
            writer.append("warning", message=str(number))
            writer.flush()
        writer.append("artifact", type="MetricTable", content=["x" * (1 << 17)])
        filler.unlink()
        with pytest.raises(JournalError):
            writer.close()
        messages = [event["message"] for event in read_run(run).events]
        assert messages == [str(number) for number in range(len(messages))]
    with faults.tmpfs(tmp_path / "second", "64k"):
        writer = JournalWriter(tmp_path / "second")
        (tmp_path / "second" / "filler").write_bytes(bytes(60 << 10))
        for number in range(100):
            writer.append("warning", message=str(number))
            writer.flush()
        (tmp_path / "second" / "filler").unlink()
        writer.close()
        messages = [event["message"] for event in read_run(tmp_path / "second").events]
        assert messages == [str(number) for number in range(100)]
