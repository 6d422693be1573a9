"""Ranks that die in MPI_Init: nobody's function has begun, and their world is started again, but not for ever."""

from __future__ import annotations

import importlib.abc
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import deeprc as rc
from deeprc.errors import RankDiedError
from deeprc.journal import read_run


class Harm:
    """Once unpickled in a rank, which is before it starts MPI, it has MPI_Init end that rank, so many times."""

    def __init__(self, how: str, rank: int, times: int, folder: Path) -> None:
        self.arguments = (how, rank, times, str(folder))

    def __reduce__(self) -> tuple[Any, tuple[str, int, int, str]]:
        return _harm, self.arguments


def _harm(how: str, rank: int, times: int, folder: str) -> None:
    starts = Path(folder, "starts")
    if os.environ["PMI_RANK"] != str(rank) or "mpi4py.MPI" in sys.modules:
        return
    with starts.open("a") as file:
        file.write("x")
    if len(starts.read_text()) > times:
        return
    if how == "SIGKILL":
        sys.meta_path.insert(0, _Killer())
    else:
        # A network that is not there: the library prints what it cannot do, and exits.
        os.environ |= {"MPIR_CVAR_CH4_NETMOD": "ofi", "FI_PROVIDER": "no-such-provider"}


class _Killer(importlib.abc.MetaPathFinder):
    """Kills the process that imports MPI."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "mpi4py.MPI":
            os.kill(os.getpid(), signal.SIGKILL)


def noted(comm: rc.Communicator, folder: str, harm: None) -> list[int]:
    """The ranks; leaves a mark for each time that it begins."""
    with Path(folder, "begun").open("a") as file:
        file.write(f"{comm.rank}")
    return comm.all_gather(comm.rank)


def warnings_of(session: rc.Session) -> list[str]:
    return [event["message"] for event in read_run(session.run_directory).of_kind("warning")]


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize(
    ("how", "seen"), [("SIGKILL", "was ended by SIGKILL in MPI_Init"), ("library", "exited with code")]
)
def test_a_world_whose_rank_dies_in_mpi_init_is_started_again(tmp_path: Path, nodes: int, how: str, seen: str) -> None:
    """No retry is used up, the function begins once, the journal says what was seen; the next task finds warm ranks."""
    with rc.Session(nodes=nodes, cores=4 // nodes, run_dir=tmp_path / "run") as session:
        future = session.submit(noted, str(tmp_path), Harm(how, 3, 1, tmp_path), ranks=4, comm="mpi")
        assert future.result(timeout=120) == [0, 1, 2, 3]
        assert session.submit(noted, str(tmp_path), None, ranks=4, comm="mpi").result(timeout=120) == [0, 1, 2, 3]
    assert sorted((tmp_path / "begun").read_text()) == sorted("0123" * 2)
    assert (tmp_path / "starts").read_text() == "xx"
    [warning] = warnings_of(session)
    assert warning.startswith(f"task 'noted' is started again: rank 3 on localhost{'' if nodes == 1 else '-2'} {seen}")
    assert "in MPI_Init, before its function began" in warning
    assert how == "SIGKILL" or "OFI" in warning
    assert list(read_run(session.run_directory).of_kind("task.failed")) == []


@pytest.mark.parametrize("retries", [0, 1])
def test_a_world_that_never_comes_up_fails_with_the_librarys_words(tmp_path: Path, retries: int) -> None:
    """After two more starts, and those that the task's own retries give; the session goes on."""
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        harm = Harm("library", 0, 99, tmp_path)
        future = session.submit(noted, str(tmp_path), harm, ranks=2, comm="mpi", retries=retries)
        with pytest.raises(RankDiedError, match=r"rank 0 on localhost: exited with code .* in MPI_Init") as caught:
            future.result(timeout=120)
        assert "OFI" in caught.value.output
        assert session.submit(noted, str(tmp_path), None, ranks=2, comm="mpi").result(timeout=120) == [0, 1]
    assert (tmp_path / "starts").read_text() == "x" * (3 + retries)
    assert len(warnings_of(session)) == 2
    failures = list(read_run(session.run_directory).of_kind("task.failed"))
    assert [failure["will_retry"] for failure in failures] == [True] * retries + [False]
