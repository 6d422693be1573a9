"""MPI worlds over nodes of a real Slurm, started by srun and served by Slurm's own PMI-2."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

import deeprc as rc
import tests
from deeprc.errors import AgentLostError, RankDiedError, StuckCollectiveError
from deeprc.journal import read_run
from tests.pilots import test_contract as contract
from tests.pilots.sites import SlurmSite, agents_of, processes_of
from tests.pilots.test_slurm_losses import power_off
from tests.runtime import faults
from tests.runtime.agent import stuck_tasks

TASK_S = contract.TASK_S


class SlurmPmiSite(SlurmSite):
    """That cluster, where a user has asked for Slurm's PMI-2."""

    def start(self) -> None:
        super().start()
        self._environment = pytest.MonkeyPatch()
        self._environment.setenv("DEEPRC_SLURM_MPI", "pmi2")

    def stop(self) -> None:
        self._environment.undo()
        super().stop()

    def power_off(self) -> None:
        """All of node2, without a word."""
        power_off(self._cluster)

    def steps(self) -> list[str]:
        """The steps that have not ended."""
        return self._cluster.command("squeue", "--noheader", "--steps", "--format=%i").split()


@pytest.fixture(scope="module")
def site() -> Iterator[SlurmPmiSite]:
    site = SlurmPmiSite()
    site.start()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def shared(site: SlurmPmiSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rc.Session]:
    """Two nodes of two cores, for all tests that leave them whole."""
    session = site.session(tmp_path_factory.mktemp("site") / "shared")
    yield session
    session.close()


class Start(NamedTuple):
    """How one rank was started: by which step of which job, on which node, as Slurm's and as MPI's number."""

    step: str | None
    node: str | None
    number: str | None
    rank: int


def starts(comm: rc.Communicator) -> list[Start]:
    step, node, number = (os.environ.get(name) for name in ("PMI_JOBID", "SLURMD_NODENAME", "SLURM_PROCID"))
    return comm.all_gather(Start(step, node, number, comm.mpi.Get_rank()))


def test_slurm_serves_a_world_that_spans_nodes(shared: rc.Session) -> None:
    """One step of Slurm's for all ranks, each on the node that the scheduler has chosen, as the journal says."""
    future = shared.submit(starts, ranks=3, comm="mpi")
    found = future.result(timeout=TASK_S)
    job = os.environ["SLURM_JOB_ID"]
    assert {start.step for start in found} == {found[0].step}
    assert found[0].step is not None and found[0].step.startswith(f"{job}.")
    assert [start.rank for start in found] == [int(start.number or -1) for start in found] == [0, 1, 2]
    assert [start.node for start in found] == [place["node"] for place in contract.places(shared, future.task)]
    assert len({start.node for start in found}) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "promise",
    [
        contract.test_a_gang_spans_nodes,
        contract.test_ranks_stay_warm_across_nodes,
        contract.test_mpi_knows_which_ranks_share_a_node,
        contract.test_a_death_is_blamed_across_nodes,
        contract.test_an_exception_ends_the_gang_on_all_nodes,
        contract.test_a_timeout_names_the_late_ranks_of_all_nodes,
        contract.test_cancel_frees_the_ranks_of_all_nodes,
    ],
)
def test_the_contract_holds(promise: Callable[..., None], shared: rc.Session, tmp_path: Path) -> None:
    """What a user sees of ranks does not depend on who has started them."""
    given: dict[str, Any] = {"shared": shared, "comm": "mpi", "rank": 2, "tmp_path": tmp_path}
    promise(**{name: given[name] for name in inspect.signature(promise).parameters})


def test_ends_and_hangs_are_told_across_nodes(shared: rc.Session) -> None:
    """An exit code, and who waits for whom, of ranks of either node."""
    with pytest.raises(RankDiedError, match=r"rank 2 on .*exited with code 7"):
        shared.submit(faults.die_on, 2, "exit", ranks=3, comm="mpi").result(timeout=TASK_S)
    with pytest.raises(StuckCollectiveError, match="waits in vain for ranks on other nodes") as caught:
        shared.submit(stuck_tasks.one_leaves, "barrier", 2, ranks=3, comm="mpi").result(timeout=TASK_S)
    assert caught.value.whereabouts[2] == "has returned"


@pytest.mark.slow
def test_ranks_may_be_placed_in_any_order(site: SlurmPmiSite, tmp_path: Path) -> None:
    """Also where Slurm itself would place them otherwise: on the second node first, as it has more room."""
    with site.session(tmp_path / "run") as session:
        # Once both nodes are there, the first task goes on the first.
        session.submit(starts, ranks=4, comm="mpi").result(timeout=TASK_S)
        session.submit(contract.wait_for, str(tmp_path / "release"))
        future = session.submit(starts, ranks=3, comm="mpi")
        found = future.result(timeout=TASK_S)
        (tmp_path / "release").touch()
        assert [start.node for start in found] == ["node2", "node2", "node1"]
        assert [start.rank for start in found] == [0, 1, 2]


def sruns(session: rc.Session) -> list[psutil.Process]:
    """The launchers of a session's MPI worlds."""
    marks = {"deeprc.runtime.rank.plain_rank", str(session.run_directory)}
    found = [each for each in processes_of(session) if marks <= set(faults.words_of(each))]
    return [each for each in found if faults.is_named(each, "srun")]


@pytest.mark.slow
def test_a_launcher_that_is_killed_or_fails_ends_its_world(
    site: SlurmPmiSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task fails and says what became of srun; nothing waits for ranks that will never come."""
    with site.session(tmp_path / "run") as session:
        future = session.submit(faults.announce_and_wait, str(tmp_path), ranks=3, comm="mpi")
        assert faults.wait_until(lambda: len(list(tmp_path.glob("rank?"))) == 3, timeout_s=TASK_S)
        for process in sruns(session):
            process.kill()
        with pytest.raises(RankDiedError, match="was ended, as srun ended with code -9"):
            future.result(timeout=60)
    assert faults.wait_until(lambda: site.leftovers(session) == [], timeout_s=90), site.leftovers(session)
    monkeypatch.setenv("DEEPRC_SLURM_MPI", "no-such-pmi")
    with (
        site.session(tmp_path / "second") as session,
        pytest.raises(RankDiedError, match=r"was not started, as srun ended with code 1: .*no-such-pmi"),
    ):
        session.submit(starts, ranks=3, comm="mpi").result(timeout=TASK_S)


def kill_leading_agent(site: SlurmPmiSite, session: rc.Session) -> None:
    """The agent of rank 0's node, which holds srun."""
    [agent] = agents_of(session, "node1")
    agent.kill()


def power_off_peer(site: SlurmPmiSite, session: rc.Session) -> None:
    """All of the other node, without a word."""
    site.power_off()


@pytest.mark.slow
@pytest.mark.parametrize("harm", [kill_leading_agent, power_off_peer])
def test_a_node_lost_in_mid_task(tmp_path: Path, harm: Callable[[SlurmPmiSite, rc.Session], None]) -> None:
    """The gang fails on both nodes, a retry runs on the one that is left, and at the end nothing is."""
    site = SlurmPmiSite()
    site.start()
    try:
        with site.session(tmp_path / "run", cores=3) as session:
            holders = [session.submit(contract.wait_for, str(tmp_path / "release"), threads=2) for _ in range(2)]
            future = session.submit(contract.meet_the_second_time, str(tmp_path), ranks=2, comm="mpi", retries=1)
            assert faults.wait_until(lambda: len(list(tmp_path.glob("rank?"))) == 2, timeout_s=TASK_S)
            assert [place["node"] for place in contract.places(session, future.task)] == ["node1", "node2"]
            (tmp_path / "release").touch()
            harm(site, session)
            assert future.result(timeout=TASK_S) == 2
            assert len({place["node"] for place in contract.places(session, future.task)}) == 1
            assert [future.exception(timeout=TASK_S) for future in holders].count(None) >= 1
            failures = read_run(tmp_path / "run").of_kind("task.failed")
            assert [each["error"] for each in failures if each["task"] == future.task] == [AgentLostError.__name__]
        assert faults.wait_until(lambda: site.leftovers(session) == [], timeout_s=90), site.leftovers(session)
    finally:
        site.stop()


@pytest.mark.slow
def test_close_leaves_nothing(site: SlurmPmiSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed while a gang is at work: no process, no step, no shared memory, no folder with a socket."""
    own = Path(tempfile.mkdtemp(prefix="mpi-"))
    monkeypatch.setenv("TMPDIR", str(own))
    before = site.steps()
    session = site.session(tmp_path / "run")
    try:
        session.submit(faults.announce_and_wait, str(tmp_path), ranks=3, comm="mpi")
        assert faults.wait_until(lambda: len(list(tmp_path.glob("rank?"))) == 3, timeout_s=TASK_S)
        agents = [agent for node in ("node1", "node2") for agent in agents_of(session, node)]
        assert len(agents) == 2
        assert len(site.steps()) == len(before) + 2
    finally:
        session.close()
    assert faults.wait_until(lambda: site.leftovers(session) == [], timeout_s=90), site.leftovers(session)
    assert faults.wait_until(lambda: site.steps() == before, timeout_s=90), site.steps()
    assert [path for agent in agents for path in Path("/dev/shm").glob(f"deeprc-mpi-{agent.pid}-*")] == []
    assert list(own.glob("deeprc-*")) == []
    shutil.rmtree(own)


class Deaf:
    """Once unpickled in a rank that agents serve, its MPI library does not hear them, as one without PMI-1."""

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return _hear_nothing, ()


def _hear_nothing() -> None:
    if sys.modules["__main__"].__spec__.name != "deeprc.runtime.rank.plain_rank":  # type: ignore[union-attr]
        for name in ("PMI_FD", "PMI_RANK", "PMI_SIZE"):
            os.environ.pop(name, None)


def starts_of_the_deaf(comm: rc.Communicator, deaf: Deaf) -> list[Start]:
    return starts(comm)


@pytest.mark.slow
def test_a_library_that_agents_cannot_serve_is_started_by_srun(
    site: SlurmPmiSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the first task, which runs all the same, with a warning; later ones are started so at once."""
    monkeypatch.setenv("DEEPRC_MPI_START", "served")
    with site.session(tmp_path / "run") as session:
        for isolated in (False, True):
            future = session.submit(starts_of_the_deaf, Deaf(), ranks=3, comm="mpi", isolated=isolated)
            assert [start.number for start in future.result(timeout=TASK_S)] == ["0", "1", "2"]
    warnings = [event["message"] for event in read_run(tmp_path / "run").of_kind("warning")]
    assert len([warning for warning in warnings if "MPI ranks are started by srun" in warning]) == 1


_OPEN_MPI = """
    import json, os, sys
    from pathlib import Path
    import deeprc as rc
    from deeprc.journal import read_run
    from tests.runtime import faults; from tests.runtime.agent import stuck_tasks

    def starts(comm: rc.Communicator) -> list:
        comm.barrier()
        names = ("PMIX_NAMESPACE", "SLURMD_NODENAME", "SLURM_PROCID")
        return comm.all_gather([*(os.environ.get(name) for name in names), comm.mpi.Get_rank()])

    with rc.Session("slurm", nodes=2, cores=2, run_dir=sys.argv[1]) as session:
        first, second = (session.submit(starts, ranks=3, comm="mpi").result(timeout=240) for _ in range(2))
        ends = []
        for rank, how in ((2, "SIGKILL"), (0, "exit")):
            error = session.submit(faults.die_on, rank, how, ranks=3, comm="mpi").exception(timeout=240)
            # Slurm ends the step at once: sometimes before it is known how the first rank ended.
            told = (error.rank, error.signal, error.exit_code) in ((2, "SIGKILL", -9), (0, None, 7))
            ends.append([type(error).__name__, told or "srun ended with code" in str(error)])
        stuck = session.submit(stuck_tasks.one_leaves, "barrier", ranks=3, comm="mpi").exception(timeout=240)
    warnings = [event["message"] for event in read_run(Path(sys.argv[1])).of_kind("warning")]
    print(json.dumps([first, second, ends, type(stuck).__name__, warnings]))
"""


@pytest.mark.slow
def test_open_mpi_spans_nodes_by_pmix(site: SlurmPmiSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first task tells that agents cannot serve it, and runs by srun; ends and hangs are told."""
    python = os.environ.get("DEEPRC_TEST_OPENMPI")
    if python is None:
        pytest.skip("DEEPRC_TEST_OPENMPI names no Python whose mpi4py is Open MPI's")
    tried = ["srun", f"--jobid={os.environ['SLURM_JOB_ID']}", "--overlap", "--mpi=pmix", "--ntasks=1", "true"]
    if (done := subprocess.run(tried, capture_output=True, text=True, timeout=60, check=False)).returncode:
        pytest.skip(f"Slurm's pmix does not work here: {done.stderr.splitlines()[0]}")
    (tmp_path / "script.py").write_text(textwrap.dedent(_OPEN_MPI))
    for name, value in {
        "DEEPRC_SLURM_MPI": "pmix",
        "DEEPRC_MPI_START": "served",
        "OMPI_MCA_btl_tcp_if_include": "lo",
        "PYTHONPATH": os.pathsep.join(str(Path(each.__file__ or "").parents[1]) for each in (rc, tests)),
    }.items():
        monkeypatch.setenv(name, value)
    command = [python, str(tmp_path / "script.py"), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    first, second, ends, stuck, warnings = json.loads(done.stdout)
    assert first == second
    assert len({start[0] for start in first}) == 1 and first[0][0].startswith("slurm.pmix.")
    assert [start[1:] for start in first] == [["node1", "0", 0], ["node1", "1", 1], ["node2", "2", 2]]
    assert ends == [[RankDiedError.__name__, True]] * 2
    assert stuck == StuckCollectiveError.__name__
    assert len([warning for warning in warnings if "MPI ranks are started by srun" in warning]) == 1
