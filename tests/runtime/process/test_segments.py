"""The shared memory of MPI ranks that are killed goes, whoever is killed and whenever."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import psutil
import pytest

import deeprc as rc
from deeprc.errors import RankDiedError
from deeprc.runtime.agent.pmi import PmiWorld
from tests.runtime import faults


def _segments_in_use() -> set[str]:
    """Names of shared memory that this rank's MPI has mapped, whether they have been unlinked or not."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {Path(line.split()[5]).name for line in lines if "mpich_shm_" in line}


def _with_segments(comm: rc.Communicator) -> tuple[str, set[str]]:
    return os.environ["PMI_RANK"], _segments_in_use()


def test_segments_are_found_by_the_name_of_the_world(session: rc.Session) -> None:
    """What MPICH calls its shared memory follows from the world's name, as the agent works it out."""
    assert fnmatch("mpich_shm_c2a0066f_0", PmiWorld((2,), name="1d51de35b9d4aa1e").segments)
    assert fnmatch("mpich_shm_c8474640_0", PmiWorld((2,), name="92f40a8e9310c155").segments)
    rank, segments = session.submit(_with_segments, ranks=2, comm="mpi").result(timeout=60)
    assert rank == "0"
    assert segments
    assert not [path for path in Path("/dev/shm").iterdir() if path.name in segments]


def start_mpi() -> tuple[int, set[str]]:
    """Start MPI in a task that has no communicator for it, as a library may."""
    from mpi4py import MPI

    MPI.COMM_WORLD.Dup()
    return os.getpid(), _segments_in_use()


def start_mpi_and_die(place: str) -> None:
    (pid, segments) = start_mpi()
    Path(place).write_text("\n".join(segments))
    os.kill(pid, signal.SIGKILL)


def gone(segments: set[str]) -> bool:
    assert segments
    return faults.wait_until(lambda: not any(Path("/dev/shm", name).exists() for name in segments))


def test_a_task_that_starts_mpi_by_itself_leaves_nothing(tmp_path: Path) -> None:
    """Its library is a world of one rank, named after the process; whether it is killed or its session ends."""
    with rc.Session(cores=1, run_dir=tmp_path / "run") as session:
        with pytest.raises(RankDiedError):
            session.submit(start_mpi_and_die, str(tmp_path / "segments")).result(timeout=60)
        assert gone(set((tmp_path / "segments").read_text().split()))
        pid, segments = session.submit(start_mpi).result(timeout=60)
        assert any(fnmatch(name, f"mpich_shm_{pid:x}_*") for name in segments)
    assert gone(segments)


class WaitsOnOne:
    """Once unpickled in a rank, which is before it starts MPI, it holds rank 1 there: rank 0 waits in MPI_Init."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return _wait_on_one, (self.folder,)


def _wait_on_one(folder: str) -> None:
    rank = os.environ["PMI_RANK"]
    (Path(folder) / f"rank{rank}").write_text(str(os.getpid()))
    if rank == "1":
        time.sleep(600)


def in_a_barrier(comm: rc.Communicator, argument: Any) -> None:
    comm.barrier()


@pytest.mark.parametrize("start", ["served", "plain"])
def test_ranks_killed_in_mpi_init_with_their_agent_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """Their world is not whole yet, so nobody has unlinked its shared memory."""
    monkeypatch.setenv("DEEPRC_MPI_START", start)
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        session.submit(in_a_barrier, WaitsOnOne(str(tmp_path)), ranks=2, comm="mpi")
        assert faults.wait_until(lambda: len(list(tmp_path.glob("rank?"))) == 2, timeout_s=60)
        first = psutil.Process(int((tmp_path / "rank0").read_text()))
        assert faults.wait_until(lambda: _mapped(first), timeout_s=60)
        segments = {place.name for place in _mapped(first)}
        assert all(Path("/dev/shm", name).exists() for name in segments)
        faults.agent_of(session).kill()
    assert gone(segments)


def _mapped(process: psutil.Process) -> set[Path]:
    return {place for place in faults.shared_memory_of([process]) if place.name.startswith("mpich_shm_")}
