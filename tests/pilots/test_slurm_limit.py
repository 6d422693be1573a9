"""Runs that are longer than their job may be, on a real Slurm: stopped before the limit, put back, resumed."""

from __future__ import annotations

import shlex
import signal
import threading
from pathlib import Path

import pytest

from deeprc.journal import read_run
from deeprc.pilots.slurm_limit import Limit
from tests.pilots.slurm_cluster import SlurmCluster, allocation
from tests.pilots.test_slurm_job import command, happened, processes_of, started, wait_until

STEPS = """\
import time
from pathlib import Path

import deeprc as rc

def first(): return 60

def count(end, folder, seconds, waits_at):
    reached = rc.checkpoint_dir() / "reached"
    start = int(reached.read_text()) if reached.exists() else 0
    for number in range(start, end):
        with (Path(folder) / "log").open("a") as log:
            log.write(f"{number}\\n")
        time.sleep(seconds)
        while number == waits_at and not rc.stopping():
            time.sleep(0.05)
        if rc.stopping():
            reached.write_text(str(number + 1))
            raise rc.TaskStoppedError(f"at {number + 1}")
    return end

def wait(seconds): time.sleep(seconds)

def last(number): return number + 1
"""
COUNT = """\
tasks:
  first: {{run: "steps.py:first"}}
  count: {{run: "steps.py:count", args: [{{task: first}}, "${{here}}", {seconds}, {waits_at}]}}
  last: {{run: "steps.py:last", args: [{{task: count}}]}}
"""
# Here the first start waits to be told to stop: it is not over before, however fast or slow the machine.
WAITS_AT = 5
ON_SLURM = ("--on", "slurm", "--nodes", "1", "--run-dir", "kept")


@pytest.fixture
def folder(cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory on the login node."""
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "count.yaml").write_text(COUNT.format(seconds=0.05, waits_at=WAITS_AT))
    (tmp_path / "wait.yaml").write_text("tasks: {wait: {run: 'steps.py:wait', args: [600]}}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def counted(folder: Path) -> list[int]:
    log = folder / "log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def start_now(cluster: SlurmCluster, job: str) -> None:
    """Once a job has been put back into the queue."""
    wait_until(lambda: cluster.command("squeue", "--noheader", "--format=%T").strip() == "PENDING", 120)
    cluster.start_again(job)


def test_a_run_told_to_stop_goes_on_in_the_same_job(folder: Path, cluster: SlurmCluster) -> None:
    """By the signal Slurm sends before the limit: no step is done twice, the result is right, the exit code 0."""
    process = started("run", "count.yaml", *ON_SLURM, "--time", "1h")
    wait_until(lambda: len(counted(folder)) > WAITS_AT, 120)
    (job,) = cluster.jobs()
    cluster.command("scancel", "--batch", "--signal=USR1", job)
    start_now(cluster, job)
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 0, output
    assert counted(folder) == list(range(60))
    assert f"Job {job} goes back into the queue" in (folder / "kept/logs/job.log").read_text()
    assert read_run(folder / "kept").events[-1]["status"] == "interrupted"
    restarted = read_run(folder / "kept/restarts/1")
    assert restarted.events[-1]["status"] == "succeeded"
    assert [event["task"] for event in restarted.of_kind("task.reused")] == ["first"]
    assert [event["result"] for event in restarted.of_kind("task.finished") if event["task"] == "last"] == ["61"]
    assert cluster.jobs() == [] and processes_of(folder / "kept") == []


def test_a_run_that_gets_no_further_is_not_started_again(folder: Path, cluster: SlurmCluster) -> None:
    """It would meet its limit for ever: exit code 75, the reason, and the command that goes on."""
    process = started("run", "wait.yaml", *ON_SLURM, "--time", "1h", "--stop-before", "6s")
    wait_until(lambda: happened(folder / "kept", "task.started"), 120)
    (job,) = cluster.jobs()
    cluster.command("scancel", "--batch", "--signal=USR1", job)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75, output
    assert "Not requeued: no task was finished and no checkpoint written" in output
    assert f"deeprc run --resume {folder}/kept --on slurm" in output
    assert cluster.jobs() == []


@pytest.mark.slow
def test_a_run_goes_back_as_often_as_it_may(folder: Path, cluster: SlurmCluster) -> None:
    """Not at all, with --requeues 0; its checkpoint is there for a later run."""
    process = started("run", "count.yaml", *ON_SLURM, "--time", "1h", "--requeues", "0")
    wait_until(lambda: len(counted(folder)) > WAITS_AT, 120)
    (job,) = cluster.jobs()
    cluster.command("scancel", "--batch", "--signal=USR1", job)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75, output
    assert "restarted 0 times, and may 0 times (--requeues)" in output
    later = started("run", "--resume", "kept", "--on", "local", "--run-dir", "later")
    output, _ = later.communicate(timeout=120)
    assert later.returncode == 0, output
    assert counted(folder) == list(range(60))


@pytest.mark.slow
def test_a_job_shorter_than_its_run_ends_well(folder: Path, cluster: SlurmCluster) -> None:
    """A limit of a minute, 48 s of work, of which 40 fit: stopped by the clock, restarted until all is done."""
    (folder / "count.yaml").write_text(COUNT.format(seconds=0.8, waits_at=-1))
    process = started("run", "count.yaml", *ON_SLURM, "--time", "1m", "--stop-before", "20s")
    wait_until((folder / "kept/job.json").is_file)
    (job,) = cluster.jobs()

    def has_ended() -> bool:
        if "BeginTime" in cluster.command("squeue", "--noheader", "--format=%r"):
            start_now(cluster, job)
        return process.poll() is not None

    wait_until(has_ended, 240)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0, output
    assert counted(folder) == list(range(60))
    assert happened(folder / "kept/restarts/1", "task.reused")


@pytest.mark.slow
def test_a_batch_script_of_the_users_own_goes_on_too(folder: Path, cluster: SlurmCluster) -> None:
    """As the Slurm page shows it: the restarted job finds its run by --run-dir."""
    script = "#!/bin/bash\n#SBATCH --nodes=1 --exclusive --time=1:00:00 --requeue --open-mode=append --output=job.log\n"
    run = shlex.join([*command("run", "count.yaml", "--on", "slurm", "--run-dir", "kept")])
    (folder / "own.sh").write_text(f"{script}#SBATCH --signal=B:USR1@120\ntrap '' USR1\nexec {run}\n")
    job = cluster.command("sbatch", "--parsable", "own.sh").strip()
    wait_until(lambda: len(counted(folder)) > WAITS_AT, 120)
    cluster.command("scancel", "--batch", "--signal=USR1", job)
    start_now(cluster, job)
    wait_until(lambda: happened(folder / "kept/restarts/1", "run.finished"), 120)
    assert counted(folder) == list(range(60))
    wait_until(lambda: "JobState=COMPLETED" in cluster.command("scontrol", "show", "job", job))


@pytest.mark.slow
def test_a_limit_that_an_administrator_extends_is_seen(cluster: SlurmCluster) -> None:
    """The clock is set by Slurm, and asked again when it is due."""
    told = threading.Event()
    with allocation(cluster, "--nodes=1", "--time=10") as job:
        limit = Limit(job, stop_before_s=596)
        cluster.command("scontrol", "update", f"JobId={job}", "TimeLimit=20")
        with limit.watched(told.set):
            assert not told.wait(8)
        assert (limit.left_s() or 0) > 1000
        with Limit(job, stop_before_s=1195).watched(told.set):
            assert told.wait(30)


def test_a_local_run_stops_at_the_signal_too(folder: Path) -> None:
    """As other batch systems may send it."""
    process = started("run", "count.yaml", "--run-dir", "kept", "--cores", "1")
    wait_until(lambda: len(counted(folder)) > WAITS_AT, 120)
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert "the run stops: SIGUSR1 has told it to" in output
