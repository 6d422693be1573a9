"""Runs submitted to a real Slurm from what it takes for a login node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deeprc.journal import read_run
from tests.pilots.slurm_cluster import SlurmCluster

STEPS = """\
import time
from pathlib import Path

def add(x, y): return x + y

def fail(): raise ValueError("this model diverged")

def wait(seconds): time.sleep(seconds)

def count(folder):
    with open(f"{folder}/counted", "a") as file: file.write("x")
    return 1

def wait_for(path, x):
    while not Path(path).exists(): time.sleep(0.1)
    return x
"""
GOOD = "tasks: {a: {run: 'steps.py:add', args: [1, 2]}, b: {run: 'steps.py:add', args: [{task: a}, 4]}}"
BAD = "tasks: {a: {run: 'steps.py:fail'}, b: {run: 'steps.py:add', args: [{task: a}, 4]}}"
LONG = "tasks: {a: {run: 'steps.py:wait', args: [600]}}"
ON_SLURM = ("--on", "slurm", "--nodes", "1")


@pytest.fixture
def folder(cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory on the login node."""
    for name, text in (("steps.py", STEPS), ("good.yaml", GOOD), ("bad.yaml", BAD), ("long.yaml", LONG)):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPRC_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "deeprc.cli.main", *map(str, arguments)]


def deeprc(*arguments: object, timeout_s: float = 150) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout_s, check=False)


def started(*arguments: object) -> subprocess.Popen[str]:
    """A command that goes on; its output and errors together."""
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def happened(run_directory: Path, kind: str) -> bool:
    events = run_directory / "events.jsonl"
    return events.is_file() and f'"kind":"{kind}"' in events.read_text()


def processes_of(run_directory: Path) -> list[str]:
    """Agents and ranks of a run that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(run_directory) in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_a_submitted_run_is_followed_to_its_end(folder: Path, cluster: SlurmCluster) -> None:
    """Exit code 0; states, progress and results are told; all of it lies in a directory for its owner alone."""
    done = deeprc("run", "good.yaml", *ON_SLURM, "--time", "0:10:00", "--partition", "debug", "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("Job ", "RUNNING (on node1)", "b: succeeded", "run succeeded"):
        assert line in done.stdout
    (run,) = (folder / "runs").iterdir()
    assert json.loads((folder / "out/summary.json").read_text())["tasks"]["b"]["status"] == "succeeded"
    assert run.stat().st_mode & 0o777 == 0o700 and (run / "job.sh").stat().st_mode & 0o777 == 0o700
    submitted = (run / "job.sh").read_text().splitlines()[1]
    for option in ("--nodes=1", "--time=0-00:10:00", "--partition=debug", "--requeue"):
        assert option in submitted
    assert cluster.jobs() == [] and processes_of(run) == []


def test_a_run_of_a_job_is_reproduced_by_another_job(folder: Path, cluster: SlurmCluster) -> None:
    """With the time limit and partition that the first one had; its outcome is compared when the job has ended."""
    asked = ("--time", "0:10:00", "--partition", "debug")
    assert deeprc("run", "good.yaml", *ON_SLURM, *asked, "--run-dir", "runs/first").returncode == 0
    done = deeprc("reproduce", "first", "--run-dir", "runs/second")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Reproduced: 0 metrics, and status and result of 2 tasks" in done.stdout
    submitted = [(folder / "runs" / name / "job.sh").read_text().splitlines()[1] for name in ("first", "second")]
    assert all("--time=0-00:10:00" in line and "--partition=debug" in line for line in submitted)


def test_a_failed_task_ends_with_1_and_shows_why(folder: Path, cluster: SlurmCluster) -> None:
    """As a local run: the traceback of the rank."""
    done = deeprc("run", "bad.yaml", *ON_SLURM)
    assert done.returncode == 1
    assert "ValueError: this model diverged" in done.stdout
    assert cluster.jobs() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good.yaml", *ON_SLURM, "--set", "x=1"], "no parameter 'x'"),
        (["wrong.yaml", *ON_SLURM], "no function 'ad' in"),
        (["good.yaml", *ON_SLURM, "--time", "soon"], "--time takes a duration"),
        (["good.yaml", *ON_SLURM, "--sbatch-option", "array=1-3"], "'array' cannot be given"),
        (["good.yaml", *ON_SLURM, "--sbatch-option", "nodes=3"], "is said by 'nodes' of the session"),
        (["good.yaml", *ON_SLURM, "--partition", "nowhere"], "specified\nValid partitions: debug."),
        (["good.yaml", "--time", "1h"], "the pilot 'local' submits none"),
    ],
)
def test_what_is_refused_submits_nothing(
    folder: Path, cluster: SlurmCluster, arguments: list[str], message: str
) -> None:
    """By the pipeline's checks, by ours of options, or by Slurm: exit code 2, no job, no directory."""
    (folder / "wrong.yaml").write_text(GOOD.replace("add", "ad"))
    done = deeprc("run", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert cluster.jobs() == []
    assert not (folder / "runs").exists() or not list((folder / "runs").iterdir())


def test_ctrl_c_cancels_the_job(folder: Path, cluster: SlurmCluster) -> None:
    """Exit code 130; the run's record is closed; no job, agent or rank is left."""
    process = started("run", "long.yaml", *ON_SLURM, "--run-dir", "kept")
    wait_until(lambda: happened(folder / "kept", "task.started"))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "Cancelling job" in output
    assert cluster.jobs() == []
    wait_until(lambda: processes_of(folder / "kept") == [])
    assert read_run(folder / "kept").events[-1]["status"] == "interrupted"


def test_a_job_that_is_cancelled_ends_the_run_with_the_reason(folder: Path, cluster: SlurmCluster) -> None:
    """By an administrator, say: exit code 1, Slurm's word for it, the end of the log."""
    process = started("run", "long.yaml", *ON_SLURM, "--run-dir", "kept")
    wait_until(lambda: happened(folder / "kept", "task.started"))
    cluster.command("scancel", *cluster.jobs())
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "was cancelled (Slurm: CANCELLED" in output and "job.log ends with" in output
    wait_until(lambda: processes_of(folder / "kept") == [])


def test_a_job_that_cannot_begin_is_told_with_its_log(folder: Path, cluster: SlurmCluster) -> None:
    """Here the functions' file goes away while the job waits."""
    process = started("run", "good.yaml", *ON_SLURM, "--run-dir", "kept", "--sbatch-option", "begin=now+1hour")
    assert process.stdout is not None
    assert any("PENDING (BeginTime)" in line for line in iter(process.stdout.readline, ""))
    (folder / "steps.py").unlink()
    (job,) = cluster.jobs()
    cluster.command("scontrol", "update", f"JobId={job}", "StartTime=now")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "ended with exit code 2" in output and "steps.py" in output


def test_a_job_outlives_the_terminal_that_follows_it(folder: Path, cluster: SlurmCluster) -> None:
    """Its loss is not Ctrl-C; and --detach does not follow at all."""
    process = started("run", "good.yaml", *ON_SLURM, "--run-dir", "kept", "--sbatch-option", "begin=now+1hour")
    wait_until((folder / "kept/job.json").is_file)
    os.killpg(process.pid, signal.SIGHUP)
    process.communicate(timeout=60)
    (job,) = cluster.jobs()
    cluster.command("scontrol", "update", f"JobId={job}", "StartTime=now")
    detached = deeprc("run", "good.yaml", *ON_SLURM, "--run-dir", "other", "--detach")
    assert detached.returncode == 0 and "submitted" in detached.stdout
    for run in ("kept", "other"):
        wait_until(lambda run=run: happened(folder / run, "run.finished"), 120)
        assert read_run(folder / run).events[-1]["status"] == "succeeded"
    followed = deeprc("follow", "other")
    assert followed.returncode == 0 and "b     succeeded" in followed.stdout, followed.stdout + followed.stderr


def test_a_detached_run_is_followed_and_left_again(folder: Path, cluster: SlurmCluster) -> None:
    """By the last of the runs; Ctrl-C leaves its job in the queue; a run that was not submitted is refused."""
    assert deeprc("run", "long.yaml", *ON_SLURM, "--detach", "--sbatch-option", "begin=now+1hour").returncode == 0
    (job,) = cluster.jobs()
    follower = started("follow")
    assert follower.stdout is not None and f"Job {job}: PENDING" in follower.stdout.readline()
    os.killpg(follower.pid, signal.SIGINT)
    output, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0 and f"Job {job} goes on" in output, output
    assert cluster.jobs() == [job]
    cluster.command("scancel", job)
    refused = deeprc("follow", "nothing")
    assert refused.returncode != 0 and "no run 'nothing' with a job of Slurm" in refused.stderr


def test_options_of_the_file_and_of_the_command_line_add_up(folder: Path, cluster: SlurmCluster) -> None:
    """The command line's win; `time` and `options` of the file are no obstacle to another pilot."""
    session = "session: {pilot: slurm, nodes: 1, cores: 1, time: 20m, options: {comment: from-file, nice: 5}}\n"
    (folder / "own.yaml").write_text(session + GOOD)
    done = deeprc("run", "own.yaml", "--sbatch-option", "nice=7", "--run-dir", "kept")
    assert done.returncode == 0, done.stdout + done.stderr
    submitted = (folder / "kept/job.sh").read_text().splitlines()[1]
    for option in ("--comment=from-file", "--nice=7", "--time=0-00:20:00", "--cpus-per-task=1"):
        assert option in submitted
    assert "--exclusive" not in submitted
    assert deeprc("run", "own.yaml", "--on", "local", "--run-dir", "here").returncode == 0


def test_a_job_put_back_into_the_queue_goes_on_where_it_was(folder: Path, cluster: SlurmCluster) -> None:
    """What had finished is not run again, what ran is; the follower sees both starts and ends with the run's code."""
    (folder / "two.yaml").write_text(
        "tasks:\n  a: {run: 'steps.py:count', args: [\"${here}\"]}\n"
        "  b: {run: 'steps.py:wait_for', args: [\"${here}/go\", {task: a}]}\n"
    )
    process = started("run", "two.yaml", *ON_SLURM, "--run-dir", "kept")
    wait_until(lambda: '"task":"b","attempt":1' in _text(folder / "kept/events.jsonl"))
    (job,) = cluster.jobs()
    cluster.command("scontrol", "requeue", job)
    wait_until(lambda: cluster.command("squeue", "--noheader", "--format=%T").strip() == "PENDING")
    (folder / "go").touch()
    cluster.start_again(job)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert (folder / "counted").read_text() == "x"
    assert read_run(folder / "kept/restarts/1").events[-1]["status"] == "succeeded"


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
