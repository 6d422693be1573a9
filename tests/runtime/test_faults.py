"""Every loss ends in a state with a reason, and touches nothing else."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import deeprc as rc
from deeprc.errors import DependencyFailedError, RankDiedError, TaskFailedError, TaskTimeoutError
from deeprc.journal import progress, read_run
from deeprc.journal.recorder import record
from tests.runtime import faults


def double(value: int) -> int:
    return 2 * value


def failures_of(session: rc.Session, future: rc.Future) -> list[dict[str, Any]]:
    return [event for event in read_run(session.run_directory).of_kind("task.failed") if event["task"] == future.task]


def test_an_exception_reaches_the_user_whole(lasting: rc.Session) -> None:
    """The user's traceback, the task and the rank; dependents cancelled with the reason; the rest goes on."""
    bystander = lasting.submit(time.sleep, 1)
    failed = lasting.submit(faults.raise_on, 1, ranks=2, comm="mpi", name="bad")
    dependent = lasting.submit(double, failed)
    last = lasting.submit(double, dependent)
    with pytest.raises(TaskFailedError, match=r"task 'bad', rank 1 .*ValueError: deliberately on 1") as caught:
        failed.result(timeout=60)
    assert 'raise ValueError(f"deliberately on {rank}")' in caught.value.traceback
    assert "runtime/rank/rank.py" not in caught.value.traceback
    for future in (dependent, last):
        with pytest.raises(DependencyFailedError, match="'bad', which it needs, failed"):
            future.result(timeout=60)
    assert bystander.result(timeout=60) is None
    assert lasting.submit(double, 4).result(timeout=60) == 8


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
@pytest.mark.parametrize(
    ("how", "signal_name", "exit_code"), [("SIGKILL", "SIGKILL", -9), ("SIGSEGV", "SIGSEGV", -11), ("exit", None, 7)]
)
def test_a_rank_that_dies_in_a_collective(
    lasting: rc.Session, comm: Any, how: str, signal_name: str | None, exit_code: int
) -> None:
    """The error names rank, signal and last output; the task's other ranks are ended; later tasks run."""
    bystander = lasting.submit(time.sleep, 1)
    future = lasting.submit(faults.die_on, 1, how, ranks=2, comm=comm)
    with pytest.raises(RankDiedError, match="rank 1 on localhost") as caught:
        future.result(timeout=60)
    assert caught.value.rank == 1
    assert caught.value.signal == signal_name
    assert caught.value.exit_code == exit_code
    assert "rank 1 was here" in caught.value.output
    assert bystander.result(timeout=60) is None
    assert lasting.submit(faults.die_on, 5, how, ranks=2, comm=comm).result(timeout=60) is None


def die_unreported(comm: rc.Communicator, place: str) -> None:
    """Rank 1 is killed, and whoever would tell how it ended is stopped."""
    comm.barrier()
    if comm.rank == 1:
        Path(place).write_text(str(os.getppid()))
        os.kill(os.getppid(), signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGKILL)
    comm.barrier()


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_death_that_is_told_late_is_the_cause_all_the_same(tmp_path: Path, nodes: int) -> None:
    """On a busy machine a peer's exception, of the connection that it has lost, comes long before the exit status."""
    zygote = tmp_path / "zygote"
    with rc.Session(cores=2 // nodes, nodes=nodes, run_dir=tmp_path / "run") as session:
        try:
            future = session.submit(die_unreported, str(zygote), ranks=2, comm="gloo")
            with pytest.raises(RankDiedError, match="rank 1 on localhost") as caught:
                future.result(timeout=90)
        finally:
            psutil.Process(int(zygote.read_text())).resume()
    assert caught.value.rank == 1


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_a_kill_is_noticed_within_two_seconds(lasting: rc.Session, tmp_path: Path, comm: Any) -> None:
    """From outside, with both ranks in mid-task; no rank of the task is left. Of some kills one: machines are busy."""
    assert any(_kill_is_noticed(lasting, tmp_path / str(attempt), comm) for attempt in range(4))


def _kill_is_noticed(session: rc.Session, folder: Path, comm: Any) -> bool:
    folder.mkdir()
    future = session.submit(faults.announce_and_wait, str(folder), ranks=2, comm=comm)
    assert faults.wait_until(lambda: len(list(folder.glob("rank?"))) == 2)
    time.sleep(0.2)
    pids = [int((folder / f"rank{rank}").read_text()) for rank in range(2)]
    os.kill(pids[1], signal.SIGKILL)
    is_soon = bool(wait([future], timeout=2).done)
    with pytest.raises(RankDiedError, match=r"rank 1 .*SIGKILL"):
        future.result(timeout=60)
    assert faults.wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    return is_soon


def test_a_rank_ended_by_a_signal_without_a_name(lasting: rc.Session) -> None:
    """A real-time signal, which batch systems may send, is told too, and harms no other task."""
    with pytest.raises(RankDiedError, match=r"SIGRTMIN\+11") as caught:
        lasting.submit(lambda: os.kill(os.getpid(), signal.SIGRTMIN + 11)).result(timeout=60)
    assert caught.value.signal == "SIGRTMIN+11"
    assert lasting.submit(double, 4).result(timeout=60) == 8


def test_retries_start_on_fresh_ranks(lasting: rc.Session, tmp_path: Path) -> None:
    """A task whose rank is killed runs again, and the journal says so."""
    future = lasting.submit(faults.die_once, str(tmp_path / "marker"), retries=1)
    assert future.result(timeout=60) == "survived"
    failures = failures_of(lasting, future)
    assert [failure["will_retry"] for failure in failures] == [True]


def test_exceptions_are_not_retried(lasting: rc.Session) -> None:
    """The user's function would raise again."""
    future = lasting.submit(faults.raise_on, 0, retries=3)
    with pytest.raises(TaskFailedError):
        future.result(timeout=60)
    assert len(failures_of(lasting, future)) == 1


def test_a_hung_rank_ends_at_its_timeout(lasting: rc.Session) -> None:
    """The error says which ranks were late; nothing of the task is left."""
    with pytest.raises(TaskTimeoutError, match=r"timeout of 0.5 s; ranks still running: \[0, 1\]"):
        lasting.submit(faults.die_on, 0, "hang", ranks=2, comm="gloo", timeout=0.5).result()
    assert lasting.submit(double, 2).result(timeout=60) == 4
    with pytest.raises(TaskTimeoutError):
        lasting.submit(time.sleep, 600, timeout=0.5).result()


def test_children_of_a_task_end_with_it(lasting: rc.Session, tmp_path: Path) -> None:
    """A process that a task left behind is ended when its rank is."""

    def leave_child(path: str) -> None:
        child = subprocess.Popen(["sleep", "600"])
        Path(path).write_text(str(child.pid))
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RankDiedError):
        lasting.submit(leave_child, str(tmp_path / "child")).result(timeout=60)
    child = int((tmp_path / "child").read_text())
    assert faults.wait_until(lambda: not faults.alive(child))


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_cancelling_ends_what_runs_and_forgets_what_waits(lasting: rc.Session, tmp_path: Path, comm: Any) -> None:
    """No rank of a cancelled gang is left, though it was in a collective; what waited for its cores never runs."""
    running = lasting.submit(faults.announce_and_wait, str(tmp_path), ranks=4, comm=comm)
    waiting = lasting.submit((tmp_path / "ran").touch)
    assert faults.wait_until(lambda: len(list(tmp_path.glob("rank?"))) == 4, timeout_s=60)
    pids = [int((tmp_path / f"rank{rank}").read_text()) for rank in range(4)]
    for future in (waiting, running):
        assert future.cancel()
        with pytest.raises(rc.DeepRCError, match="cancelled"):
            future.result(timeout=60)
    assert faults.wait_until(lambda: not any(faults.alive(pid) for pid in pids))
    assert lasting.submit(faults.raise_on, 5, ranks=4, comm=comm).result(timeout=60) is None
    assert not (tmp_path / "ran").exists()


def test_an_unpicklable_result_is_the_tasks_failure(lasting: rc.Session) -> None:
    """Not a hang, not a crash of the session."""
    with pytest.raises(TaskFailedError, match="pickle"):
        lasting.submit(lambda: (value for value in range(3))).result(timeout=60)


def test_a_dead_agent_fails_its_tasks(tmp_path: Path) -> None:
    """With the only node gone, running and waiting tasks fail with the reason; closing still works."""
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        running = session.submit(time.sleep, 600)
        waiting = session.submit(double, running)
        assert faults.wait_until(running.running)
        agent = faults.agent_of(session)
        ranks = agent.children(recursive=True)
        agent.kill()
        for future in (running, waiting):
            with pytest.raises(rc.DeepRCError, match=r"lost|needs"):
                future.result(timeout=60)
    assert faults.wait_until(lambda: not any(faults.alive(process.pid) for process in ranks))


_SCRIPT = """
    import sys, time
    from pathlib import Path
    import deeprc as rc
    from tests.runtime import faults
    def write_forever(directory: str) -> None:
        import deeprc.bridge
        (deeprc.bridge.dataset_root() / "half.tmp").write_bytes(b"x" * 1000)
        Path(directory, "writing").touch()
        time.sleep(600)
    with rc.Session(cores=4, run_dir=sys.argv[1]) as session:
        session.submit(faults.announce_and_wait, sys.argv[2], ranks=2, comm="mpi")
        session.submit(write_forever, sys.argv[2])
        time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_the_end_of_the_driver_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    """kill -9 of the driver, or Ctrl-C: no process, no shared memory, no half-written file."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_SCRIPT))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    driver = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "run"), str(tmp_path)], env=environment, stderr=subprocess.PIPE
    )
    try:
        assert faults.wait_until(lambda: len(list(tmp_path.glob("rank?"))) == 2 and (tmp_path / "writing").exists())
        family = faults.children_of(driver.pid)
        assert len(family) >= 4
        shared_memory = faults.shared_memory_of(family)
        assert any("mpich" in place.name for place in shared_memory)
        assert any("deeprc" in place.name for place in shared_memory)
        driver.send_signal(how)
        assert faults.wait_until(lambda: driver.poll() is not None)
    finally:
        driver.kill()
    assert faults.wait_until(lambda: not any(faults.alive(process.pid) for process in family))
    assert faults.wait_until(lambda: not [place for place in shared_memory if place.exists()])
    assert not list((tmp_path / "run").rglob("*.tmp"))
    if how == signal.SIGINT:
        assert b"KeyboardInterrupt" in driver.stderr.read()  # type: ignore[union-attr]
        assert read_run(tmp_path / "run").events[-1]["status"] == "interrupted"


@pytest.mark.parametrize(
    "wait", ["future.result()", "concurrent.futures.wait([future])", "next(as_completed([future]))"]
)
def test_ctrl_c_is_seen_however_one_waits(tmp_path: Path, wait: str) -> None:
    """Polars' own SIGINT handler lets waits go on; a session's do not."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import concurrent.futures, time
        from concurrent.futures import as_completed
        from pathlib import Path
        import polars
        import deeprc as rc
        with rc.Session(cores=1, run_dir="run") as session:
            future = session.submit(time.sleep, 600)
            while not future.running():
                time.sleep(0.02)
            Path("waiting").touch()
            {wait}
    """)
    )
    with subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stderr=subprocess.PIPE) as driver:
        try:
            assert faults.wait_until((tmp_path / "waiting").exists)
            time.sleep(0.3)
            driver.send_signal(signal.SIGINT)
            assert b"KeyboardInterrupt" in driver.communicate(timeout=60)[1]
        finally:
            driver.kill()
    assert read_run(tmp_path / "run").events[-1]["status"] == "interrupted"


def record_odd(folder: str) -> int:
    """Record an object whose class only this rank finds."""
    sys.path.insert(0, folder)
    odd = importlib.import_module("odd_one")
    record("warning", message=odd.Odd())
    progress(np.float32(1), np.int64(2))
    return 5


def record_keys() -> None:
    record("warning", message={(1, 2): 3})


def test_what_a_task_records_costs_no_node(session: rc.Session, tmp_path: Path) -> None:
    """An object of the user's is written as text, a library's number as a number; what JSON cannot hold at all fails
    the task."""
    (tmp_path / "odd_one.py").write_text("class Odd:\n    def __repr__(self): return 'odd'\n")
    assert session.submit(record_odd, str(tmp_path)).result(timeout=60) == 5
    with pytest.raises(TaskFailedError, match="keys must be str"):
        session.submit(record_keys).result(timeout=60)
    run = read_run(session.run_directory)
    assert [event["message"] for event in run.of_kind("warning") if event.get("task")] == ["odd"]
    assert [(event["done"], event["total"]) for event in run.of_kind("progress")] == [(1.0, 2.0)]
