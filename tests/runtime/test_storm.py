"""Under fire nothing is lost, nothing is done twice, nothing is left."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import psutil
import pytest

import deeprc as rc
from deeprc.journal import read_run
from tests.runtime import faults, storm

_KINDS: list[tuple[Any, int]] = [("solo", 1), ("gloo", 1), ("gloo", 2), ("gloo", 3), ("mpi", 1), ("mpi", 2), ("mpi", 3)]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [2000])
def test_a_storm_of_kills(tmp_path: Path, count: int) -> None:
    """2,000 tasks of 1 to 3 ranks, a random rank killed every 200 ms: all right, none lost, none twice, none left."""
    choice = random.Random(11)
    kinds = [choice.choice(_KINDS) for _ in range(count)]
    diary = tmp_path / "diary"
    shared_memory = set(Path("/dev/shm").iterdir())
    with rc.Session(cores=4, run_dir=tmp_path / "run") as session:
        futures = [
            session.submit(
                storm.squares, number, str(diary), ranks=ranks, comm=comm, retries=50, timeout=30, name=f"t{number}"
            )
            for number, (comm, ranks) in enumerate(kinds)
        ]
        futures[0].result(timeout=120)
        reaper = storm.Reaper(session, futures, period_s=0.2, seed=5)
        reaper.start()
        try:
            results = [future.result(timeout=600) for future in futures]
        finally:
            reaper.stop()
        agent = faults.agent_of(session)
        family = [agent, *agent.children(recursive=True)]
    assert results == [storm.expected_squares(number, ranks) for number, (_, ranks) in enumerate(kinds)]
    assert reaper.killed > 20
    _assert_none_twice(tmp_path / "run", diary, count)
    _assert_nothing_left(family, shared_memory, tmp_path / "run")


def _assert_none_twice(run_directory: Path, diary: Path, count: int) -> None:
    """Each task finished once; no run of its function began after that, and each run was an attempt."""
    run = read_run(run_directory)
    finished = {event["task"]: event["time"] for event in run.of_kind("task.finished")}
    assert len(list(run.of_kind("task.finished"))) == len(finished) == count
    starts = storm.starts_in(diary)
    attempts: dict[str, int] = {}
    for event in run.of_kind("task.finished", "task.failed"):
        attempts[event["task"]] = event["attempt"]
    for number in range(count):
        assert max(starts[number]) < finished[f"t{number}"]
        assert len(starts[number]) <= attempts[f"t{number}"]


def _assert_nothing_left(family: list[psutil.Process], shared_memory: set[Path], run_directory: Path) -> None:
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    # Of what has come meanwhile; other runs on this host have folders of their agents' names, and unlink segments soon.
    pids = {str(process.pid) for process in family}
    new = [path for path in set(Path("/dev/shm").iterdir()) - shared_memory if path.name.startswith("mpich_shm_")]
    new += [path for path in Path("/dev/shm").glob("deeprc-mpi-*") if path.name.split("-")[2] in pids]
    assert faults.wait_until(lambda: not any(path.exists() for path in new)), new
    assert not list(run_directory.rglob("*.tmp"))
