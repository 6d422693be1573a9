"""Sessions inside a real Slurm job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import deeprc as rc
from deeprc.errors import AgentLostError, ResourceError
from deeprc.journal import read_run
from deeprc.pilots.slurm import Host
from deeprc.pilots.slurm_pilot import SlurmPilot, address_towards
from tests.pilots.sites import started_as
from tests.pilots.slurm_cluster import SlurmCluster, allocation
from tests.runtime import faults


@pytest.fixture
def job(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A job of one node, in which this process takes itself to be."""
    with allocation(cluster, "--nodes=1", "--exclusive", "--no-kill") as job:
        monkeypatch.setenv("SLURM_JOB_ID", job)
        yield job


def agents(run_directory: Path) -> list[psutil.Process]:
    """Agents of a run on this machine."""
    return started_as({"deeprc.runtime.agent", str(run_directory)})


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_outside_a_job_it_says_what_to_do(cluster: SlurmCluster, tmp_path: Path) -> None:
    """Both ways into one."""
    with pytest.raises(ResourceError, match=r"deeprc run .* --on slurm(.|\n)*salloc"):
        rc.Session("slurm", run_dir=tmp_path / "run")


def test_a_job_that_has_ended_is_no_allocation(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM_JOB_ID may outlive the job, in the shell that salloc left."""
    with allocation(cluster, "--nodes=1") as job:
        pass
    monkeypatch.setenv("SLURM_JOB_ID", job)
    with pytest.raises(ResourceError, match="CANCELLED"):
        rc.Session("slurm", run_dir=tmp_path / "run")


def launcher_variables() -> list[str]:
    return [name for name in os.environ if name.startswith(("SLURM_NT", "SLURM_STEP", "SLURM_PROCID", "PMI_R"))]


def test_a_session_is_what_the_job_holds(cluster: SlurmCluster, job: str, tmp_path: Path) -> None:
    """Node, cores, GPUs and memory are the job's; ranks see nothing of srun; the driver listens on loopback."""
    with rc.Session("slurm", run_dir=tmp_path / "run") as session:
        assert session.submit(launcher_variables).result(timeout=60) == []
        (agent,) = agents(session.run_directory)
        assert agent.environ().get("SLURM_PROCID") is None
        connection = (session.run_directory / ".connection.json").read_text()
    started = read_run(tmp_path / "run").first("run.started")
    assert started is not None
    assert started["nodes"] == [
        {
            "name": "node1",
            "cores": cluster.cpus,
            "gpus": cluster.gpus,
            "memory_bytes": cluster.memory_mib * 1024**2,
        }
    ]
    assert '"tcp://127.0.0.1:' in connection


def test_the_key_is_in_no_command_and_no_environment(cluster: SlurmCluster, job: str, tmp_path: Path) -> None:
    """It travels by the run directory's file, which only its owner may read."""
    with rc.Session("slurm", run_dir=tmp_path / "run") as session:
        session.submit(abs, -1).result(timeout=60)
        connection = json.loads((session.run_directory / ".connection.json").read_text())
        step = [process for process in psutil.Process().children() if faults.is_named(process, "srun")]
        watched = [*step, *agents(session.run_directory)]
        assert len(watched) >= 2
        for process in watched:
            said = " ".join([*process.cmdline(), *process.environ().values()])
            assert connection["token"] not in said and connection["server_key"] not in said


def test_an_agent_that_is_killed_is_lost_at_once(cluster: SlurmCluster, job: str, tmp_path: Path) -> None:
    """srun tells how it ended, long before a heartbeat is missed."""
    with rc.Session("slurm", run_dir=tmp_path / "run") as session:
        future = session.submit(time.sleep, 600)
        wait_until(future.running, 60)
        for agent in agents(session.run_directory):
            agent.kill()
        with pytest.raises(AgentLostError, match=r"node1 is lost: its agent ended: Killed \(SIGKILL\)"):
            future.result(timeout=60)


def test_close_leaves_no_step_and_no_process(cluster: SlurmCluster, job: str, tmp_path: Path) -> None:
    """The job remains, its owner's; all that the session started in it is gone."""
    with rc.Session("slurm", run_dir=tmp_path / "run") as session:
        session.submit(abs, -1).result(timeout=60)
        (step,) = cluster.command("squeue", "--noheader", "--steps", "--format=%j").split()
        assert step.startswith("deeprc-run-")
    assert agents(tmp_path / "run") == []
    wait_until(lambda: cluster.command("squeue", "--noheader", "--steps", "--format=%j").split() == [])
    assert cluster.jobs() == [job]


def started_by(comm: rc.Communicator) -> list[tuple[str | None, int]]:
    """Slurm's number of each rank, and MPI's."""
    return comm.all_gather((os.environ.get("SLURM_PROCID"), comm.mpi.Get_rank()))


def test_mpi_ranks_can_be_started_by_srun(
    cluster: SlurmCluster, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's own PMI-2 serves them, for libraries that the agent cannot serve; they stay warm, and nothing is left."""
    monkeypatch.setenv("DEEPRC_MPI_START", "plain")
    monkeypatch.setenv("DEEPRC_SLURM_MPI", "pmi2")
    with rc.Session("slurm", cores=4, run_dir=tmp_path / "run") as session:
        for _ in range(2):
            found = session.submit(started_by, ranks=4, comm="mpi").result(timeout=120)
            assert found == [("0", 0), ("1", 1), ("2", 2), ("3", 3)]
    assert len(list((tmp_path / "run/logs").glob("rank-*.log"))) == 4
    assert agents(tmp_path / "run") == []
    wait_until(lambda: cluster.command("squeue", "--noheader", "--steps", "--format=%j").split() == [])


def test_when_srun_is_killed_the_session_ends_what_it_left(cluster: SlurmCluster, job: str, tmp_path: Path) -> None:
    """Its tasks would live on: nobody holds them any more. The step is cancelled."""
    with rc.Session("slurm", run_dir=tmp_path / "run") as session:
        session.submit(abs, -1).result(timeout=60)
        future = session.submit(time.sleep, 600)
        wait_until(future.running, 60)
        for process in psutil.Process().children(recursive=True):
            if faults.is_named(process, "srun"):
                process.kill()
        with pytest.raises(AgentLostError, match="srun"):
            future.result(timeout=60)
    wait_until(lambda: agents(tmp_path / "run") == [])


def test_when_the_driver_is_killed_nothing_is_left(cluster: SlurmCluster, job: str, tmp_path: Path) -> None:
    """Its death ends srun's input, and with that the agents and their ranks."""
    script = (
        "import sys, time, deeprc as rc\n"
        "session = rc.Session('slurm', run_dir=sys.argv[1])\n"
        "future = session.submit(time.sleep, 600)\n"
        "while not future.running(): time.sleep(0.05)\n"
        "print('running', flush=True)\n"
        "time.sleep(600)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None and driver.stdout.readline() == "running\n"
        assert len(agents(tmp_path / "run")) == 1
    finally:
        driver.kill()
        driver.communicate()
    wait_until(lambda: agents(tmp_path / "run") == [])
    wait_until(lambda: cluster.command("squeue", "--noheader", "--steps", "--format=%j").split() == [])


def test_agents_of_other_machines_reach_the_driver_by_a_real_address() -> None:
    """The address from which this machine would reach them, asked of its routing table."""
    assert address_towards([Host("elsewhere", "127.0.0.9", 0)]) == "127.0.0.1"
    with pytest.raises(ResourceError, match="no-such-host"):
        address_towards([Host("elsewhere", "no-such-host.invalid", 0)])


def test_a_pilot_that_was_never_started_closes() -> None:
    """Also after a refusal."""
    SlurmPilot().close()
