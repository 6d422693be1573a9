"""Launchers of MPI worlds that a site names: what they are told, and what becomes of a task when they fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import deeprc as rc
from deeprc.errors import RankDiedError
from deeprc.runtime.agent.launcher import launcher, launcher_name, launcher_spans_nodes, mpiexec
from tests.runtime import faults

TASK_S = 120.0


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No launcher but those that a test names; it is used from the first world on."""
    for name in ("DEEPRC_MPI_LAUNCHER", "DEEPRC_MPI_LAUNCHER_ACROSS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DEEPRC_MPI_START", "plain")
    return monkeypatch


def test_a_launcher_is_told_ranks_and_nodes(own: pytest.MonkeyPatch) -> None:
    """One that is told no nodes serves a single one; the pilot's then serves several."""
    assert launcher(["n1", "n1"]) == [mpiexec(), "-n", "2"]
    assert launcher(["n1", "n2"]) is None and not launcher_spans_nodes()
    own.setenv("DEEPRC_MPI_LAUNCHER_ACROSS", f"{sys.executable} -m site.srun {{hosts}}")
    assert launcher(["n1", "n1", "n2"]) == [sys.executable, "-m", "site.srun", "n1,n1,n2"]
    assert launcher_name(["n1", "n2"]) == "srun" and launcher_name(["n1"]) == "mpiexec"
    own.setenv("DEEPRC_MPI_LAUNCHER", "/opt/run -n{ranks}")
    assert launcher(["n1", "n1"]) == ["/opt/run", "-n2"] and launcher_name(["n1", "n2"]) == "srun"
    own.setenv("DEEPRC_MPI_LAUNCHER", "/opt/run -n{ranks} --hosts={hosts}")
    assert launcher(["n1", "n2"]) == ["/opt/run", "-n2", "--hosts=n1,n2"]


def hosts(comm: rc.Communicator) -> tuple[list[int], list[int], str | None]:
    return comm.all_gather(comm.mpi.Get_rank()), comm.all_gather(os.getpid()), os.environ.get("RANKS_ARE_ON")


def test_one_launcher_starts_a_world_that_spans_nodes(own: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its keepers join the agents of two nodes; ranks stay warm, a death on the second is told, nothing is left."""
    own.setenv("DEEPRC_MPI_LAUNCHER", f"env RANKS_ARE_ON={{hosts}} {mpiexec()} -n {{ranks}}")
    others = set(faults.children_of(os.getpid()))
    with rc.Session(nodes=2, cores=2, run_dir=tmp_path / "run") as session:
        first, second = (session.submit(hosts, ranks=4, comm="mpi").result(timeout=TASK_S) for _ in range(2))
        assert first == second
        assert (first[0], first[2]) == ([0, 1, 2, 3], "localhost,localhost,localhost-2,localhost-2")
        with pytest.raises(RankDiedError, match="rank 3 on localhost-2: was ended by SIGKILL"):
            session.submit(faults.die_on, 3, "SIGKILL", ranks=4, comm="mpi").result(timeout=TASK_S)
        family = set(faults.children_of(os.getpid())) - others
    assert faults.wait_until(lambda: not any(process.is_running() for process in family))


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize(
    ("command", "end"),
    [
        ("sh -c 'echo no room for {ranks} on {hosts} >&2; exit 3'", "sh ended with code 3: no room for 2 on .*"),
        ("/no/such/launcher {hosts}", "launcher cannot be run: .*No such file.*"),
    ],
)
def test_a_launcher_that_fails_fails_the_task(
    own: pytest.MonkeyPatch, tmp_path: Path, nodes: int, command: str, end: str
) -> None:
    """In its own words; nothing waits for ranks that will never come."""
    own.setenv("DEEPRC_MPI_LAUNCHER", command)
    with (
        rc.Session(nodes=nodes, cores=2 // nodes, run_dir=tmp_path / "run") as session,
        pytest.raises(RankDiedError, match=f"was not started, as {end}"),
    ):
        session.submit(hosts, ranks=2, comm="mpi").result(timeout=TASK_S)
