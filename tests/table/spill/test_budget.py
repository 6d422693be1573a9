"""Which memory budget tables get, and what becomes of one that is too small."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

import deeprc as rc
from deeprc.errors import TaskFailedError
from deeprc.table.spill.memory import resident_bytes
from deeprc.workspace import memory_budget

_MEBIBYTE = 1 << 20


def _budget() -> int | None:
    return memory_budget()


def test_a_sessions_memory_is_shared_out_by_cores_and_a_tasks_own_wins(tmp_path: Path) -> None:
    """Session(memory=) bounds tables by the cores of a rank; memory= of a task does so in its stead, for it alone."""
    with rc.Session(cores=4, memory="1GiB", run_dir=tmp_path) as session:
        alone = session.submit(_budget).result(timeout=60)
        half = session.submit(_budget, threads=2).result(timeout=60)
        own = session.submit(_budget, memory="300MiB").result(timeout=60)
        after = session.submit(_budget).result(timeout=60)
    assert (alone, half, own, after) == (256 * _MEBIBYTE, 512 * _MEBIBYTE, 300 * _MEBIBYTE, 256 * _MEBIBYTE)


def test_without_memory_tables_take_what_they_take(session: rc.Session) -> None:
    """Nothing is bounded where the user has said nothing."""
    assert session.submit(_budget).result(timeout=60) is None


def _held(comm: rc.Communicator) -> int:
    return max(comm.all_gather(resident_bytes()))


def _sorted(comm: rc.Communicator, source: str, target: str) -> None:
    rc.scan_parquet(source, comm).sort("k").write_parquet(target)


@pytest.mark.parametrize("whose", ["task", pytest.param("session", marks=pytest.mark.slow)])
def test_too_small_a_budget_is_refused_with_one_that_would_do(tmp_path: Path, whose: str) -> None:
    """The ranks refuse before they read a row, and the memory that they name is enough."""
    source, target = str(tmp_path / "rows"), tmp_path / "sorted"
    frame = pl.select(k=pl.int_range(6_000_000, dtype=pl.Int64).reverse())
    rc.from_polars(frame).write_parquet(source, row_group_size=1 << 17)

    def sort_within(mebibytes: int) -> BaseException | None:
        of_session, of_task = (f"{2 * mebibytes}MiB", None) if whose == "session" else (None, f"{mebibytes}MiB")
        with rc.Session(cores=2, memory=of_session, run_dir=tmp_path / f"run-{mebibytes}") as session:
            future = session.submit(_sorted, source, str(target), ranks=2, comm="mpi", memory=of_task)
            return future.exception(timeout=60)

    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        held = session.submit(_held, ranks=2, comm="mpi").result(timeout=60)
    error = sort_within(held // _MEBIBYTE + 20)
    assert isinstance(error, TaskFailedError)
    named = re.search(r'ResourceError: .* rank [01] may hold \d+ MiB .*memory="(\d+)MiB" or more', str(error))
    assert named, error
    assert not target.exists()
    assert sort_within(int(named[1])) is None
    assert pl.read_parquet(target / "*.parquet")["k"].equals(pl.Series("k", range(6_000_000)))
