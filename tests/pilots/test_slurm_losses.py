"""What goes wrong at a real Slurm: nodes that are lost, limits that are met, jobs that wait."""

from __future__ import annotations

import datetime
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import deeprc as rc
from deeprc.errors import AgentLostError
from deeprc.journal import read_run
from tests.pilots.sites import started_as
from tests.pilots.slurm_cluster import SlurmCluster, allocation
from tests.pilots.test_slurm_job import happened, processes_of, started, wait_until


def power_off(cluster: SlurmCluster) -> None:
    """Everything that runs on node2 is gone at once, and says nothing."""
    daemon = cluster.daemon("slurmd.node2")
    # Its steps' daemons have left it; their node is known by where they keep their sockets.
    spool = str(cluster.folder / "spool" / "node2")
    doomed = [daemon]
    for process in psutil.process_iter():
        try:
            sockets = process.net_connections("unix") if process.name() == "slurmstepd" else []
            if any(spool in str(each.laddr) for each in sockets):
                doomed += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    assert len(doomed) > 2
    for process in doomed:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def set_down(cluster: SlurmCluster) -> None:
    """An administrator takes node2 out."""
    cluster.command("scontrol", "update", "NodeName=node2", "State=DOWN", "Reason=test")


@pytest.fixture
def mended(cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """The cluster, whose node2 is brought back after the test."""
    yield cluster
    cluster.cancel_all()
    if not psutil.pid_exists(int((cluster.folder / "slurmd.node2.pid").read_text())):
        cluster.start_node(2)
    cluster.wait_until_idle()


def wait_for(path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.05)
    return path


def nodes_of(run: Path) -> dict[str, str]:
    """The node on which each task was started last."""
    return {event["task"]: event["ranks"][0]["node"] for event in read_run(run).of_kind("task.started")}


@pytest.mark.parametrize("harm", [pytest.param(power_off, marks=pytest.mark.slow), set_down])
def test_a_lost_node_costs_what_ran_there(
    mended: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[SlurmCluster], None]
) -> None:
    """Its tasks fail naming it, or are tried again elsewhere; those of the other node go on."""
    go, run = tmp_path / "go", tmp_path / "run"
    with allocation(mended, "--nodes=2", "--exclusive", "--no-kill") as job:
        monkeypatch.setenv("SLURM_JOB_ID", job)
        with rc.Session("slurm", nodes=2, cores=2, run_dir=run) as session:
            futures = {
                name: session.submit(wait_for, str(go), name=name, retries=int(name.startswith("again")))
                for name in ("again1", "once1", "again2", "once2")
            }
            wait_until(lambda: len(nodes_of(run)) == 4, 120)
            before = nodes_of(run)
            harm(mended)
            for name in [name for name, node in before.items() if node == "node2" and name.startswith("once")]:
                with pytest.raises(AgentLostError, match="node2 is lost"):
                    futures.pop(name).result(timeout=120)
            go.touch()
            for future in futures.values():
                assert future.result(timeout=60) == str(go)
    after = nodes_of(run)
    assert {before[name] for name in before} == {"node1", "node2"}
    assert {after[name] for name in futures} == {"node1"}


@pytest.fixture
def folder(cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory on the login node."""
    (tmp_path / "steps.py").write_text("import time\ndef wait(seconds): time.sleep(seconds)\n")
    for name, seconds in (("long", 600), ("short", 0)):
        (tmp_path / f"{name}.yaml").write_text(f"tasks: {{wait: {{run: 'steps.py:wait', args: [{seconds}]}}}}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


@pytest.mark.slow
def test_a_run_that_does_not_stop_is_ended_by_slurm(folder: Path, cluster: SlurmCluster) -> None:
    """A driver that hangs, here because it is frozen: the reason is told, exit code 1, nothing is left."""
    process = started("run", "long.yaml", "--on", "slurm", "--nodes", "1", "--run-dir", "kept", "--time", "1h")
    wait_until(lambda: happened(folder / "kept", "task.started"), 120)
    (job,) = cluster.jobs()
    (batch,) = started_as({"deeprc.cli.main", str(folder / "kept/pipeline.yaml")})
    os.kill(batch.pid, signal.SIGSTOP)
    end = datetime.datetime.now() + datetime.timedelta(seconds=2)
    cluster.command("scontrol", "update", f"JobId={job}", f"EndTime={end:%Y-%m-%dT%H:%M:%S}")
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 1, output
    assert "ran into its time limit (Slurm: TIMEOUT" in output
    wait_until(lambda: processes_of(folder / "kept") == [])


@pytest.mark.slow
def test_a_job_that_waits_says_for_what(folder: Path, cluster: SlurmCluster) -> None:
    """For nodes, and then it runs; or for more than there are, and then for ever."""
    with allocation(cluster, "--nodes=2", "--exclusive") as holder:
        process = started("run", "short.yaml", "--on", "slurm", "--nodes", "1", "--run-dir", "kept")
        wait_until(lambda: "Resources" in cluster.command("squeue", "--noheader", "--format=%r"))
        told = process.stdout
        assert told is not None
        assert any("PENDING (Resources)" in line for line in iter(told.readline, ""))
        cluster.command("scancel", holder)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    process = started("run", "short.yaml", "--on", "slurm", "--nodes", "9", "--run-dir", "vain")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("PENDING (PartitionConfig: it asks for more nodes than the partition has)" in line for line in lines)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert cluster.jobs() == []
