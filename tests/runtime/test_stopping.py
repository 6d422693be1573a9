"""Runs that are stopped before their time, and tasks that go on from where they were."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import deeprc as rc
from deeprc.journal import read_run

# Where counting waits to be told to stop, while there is a file `waits`: fast or slow, it is not over before.
WAITS_AT = 5


def count_to(end: int, folder: str, comm: rc.Communicator | None = None) -> int:
    """Count one at a time, each step once in a log; on being told to stop, leave the number reached."""
    # Not an argument itself: a task depends on the content of files that are.
    log = Path(folder) / "log"
    reached = rc.checkpoint_dir() / "reached"
    start = int(reached.read_text()) if reached.exists() else 0
    for number in range(start, end):
        if comm is None or comm.rank == 0:
            with log.open("a") as file:
                file.write(f"{number}\n")
        time.sleep(0.05)
        while number == WAITS_AT and (Path(folder) / "waits").exists() and not rc.stopping(comm):
            time.sleep(0.05)
        if rc.stopping(comm):
            if comm is None or comm.rank == 0:
                reached.write_text(str(number + 1))
            raise rc.TaskStoppedError(f"at {number + 1}")
    return end


def count_together(end: int, folder: str, comm: rc.Communicator) -> int:
    return count_to(end, folder, comm)


def after(number: int) -> int:
    return number + 1


def counted(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def wait_for(log: Path, lines: int) -> None:
    deadline = time.monotonic() + 60
    while len(counted(log)) < lines:
        assert time.monotonic() < deadline, "it did not begin in time"
        time.sleep(0.02)


@pytest.mark.parametrize(("function", "ranks"), [(count_to, 1), (count_together, 2)])
def test_a_stopped_task_goes_on_where_it_was(tmp_path: Path, function, ranks: int) -> None:
    """Each step is done once over both runs, what had not begun is done by the second, and the result is right."""
    log = tmp_path / "log"
    (tmp_path / "waits").touch()
    with rc.Session(cores=2, run_dir=tmp_path / "first", keep_results=True) as session:
        counting = session.submit(function, 60, str(tmp_path), ranks=ranks, comm="gloo" if ranks > 1 else "auto")
        following = session.submit(after, counting)
        wait_for(log, WAITS_AT + 1)
        session.stop(60, "for a test")
        with pytest.raises(rc.TaskStoppedError, match="stopped with a checkpoint: at "):
            counting.result(timeout=60)
        with pytest.raises(rc.TaskStoppedError, match="for a test"):
            following.result(timeout=60)
        with pytest.raises(rc.TaskStoppedError, match="for a test"):
            session.submit(after, 1, name="late").result(timeout=60)
    assert read_run(tmp_path / "first").events[-1]["status"] == "interrupted"
    before = len(counted(log))
    assert before == WAITS_AT + 1
    (tmp_path / "waits").unlink()
    with rc.Session(cores=2, run_dir=tmp_path / "second", resume=tmp_path / "first") as session:
        counting = session.submit(function, 60, str(tmp_path), ranks=ranks, comm="gloo" if ranks > 1 else "auto")
        assert session.submit(after, counting).result(timeout=60) == 61
    assert counted(log) == list(range(60))
    # The earlier run stays as it is.
    assert int((tmp_path / "first/checkpoints" / counting.task / "reached").read_text()) == before


def test_what_does_not_stop_is_ended(tmp_path: Path) -> None:
    """After the time it was given; its error says so."""
    with rc.Session(cores=1, run_dir=tmp_path / "run") as session:
        future = session.submit(time.sleep, 600)
        while not future.running():
            time.sleep(0.02)
        session.stop(0.5)
        with pytest.raises(rc.TaskStoppedError, match="not stopped by itself in time"):
            future.result(timeout=60)


def test_what_ends_in_time_has_its_result(tmp_path: Path) -> None:
    """And the run has then succeeded: nothing is left to do."""
    with rc.Session(cores=1, run_dir=tmp_path / "run") as session:
        future = session.submit(time.sleep, 1)
        while not future.running():
            time.sleep(0.02)
        session.stop(30)
        assert future.result(timeout=60) is None
    assert read_run(tmp_path / "run").events[-1]["status"] == "succeeded"


def die_once(log: str) -> int:
    """Three steps, with a death after the second of the first attempt."""
    reached = rc.checkpoint_dir() / "reached"
    start = int(reached.read_text()) if reached.exists() else 0
    for number in range(start, 3):
        with Path(log).open("a") as file:
            file.write(f"{number}\n")
        reached.write_text(str(number + 1))
        if number == 1 and start == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return start


def test_a_retry_finds_the_checkpoint_of_the_attempt_before(tmp_path: Path) -> None:
    """A rank that dies costs what it did since then."""
    with rc.Session(cores=1, run_dir=tmp_path / "run") as session:
        assert session.submit(die_once, str(tmp_path / "log"), retries=1).result(timeout=60) == 2
    assert counted(tmp_path / "log") == [0, 1, 2]


def test_a_run_that_never_came_to_a_task_hands_its_checkpoint_on(tmp_path: Path) -> None:
    """A third run goes on where the first was."""
    log = tmp_path / "log"
    (tmp_path / "waits").touch()
    with rc.Session(cores=1, run_dir=tmp_path / "first", keep_results=True) as session:
        future = session.submit(count_to, 40, str(tmp_path))
        wait_for(log, WAITS_AT + 1)
        session.stop(60)
        assert isinstance(future.exception(timeout=60), rc.TaskStoppedError)
    (tmp_path / "waits").unlink()
    with rc.Session(cores=1, run_dir=tmp_path / "second", resume=tmp_path / "first") as session:
        session.stop(60)
        assert isinstance(session.submit(count_to, 40, str(tmp_path)).exception(timeout=60), rc.TaskStoppedError)
    with rc.Session(cores=1, run_dir=tmp_path / "third", resume=tmp_path / "second") as session:
        assert session.submit(count_to, 40, str(tmp_path)).result(timeout=60) == 40
    assert counted(log) == list(range(40))


def test_a_checkpoint_of_other_arguments_is_not_used(tmp_path: Path) -> None:
    """The task begins anew, and the journal says why."""
    log = tmp_path / "log"
    (tmp_path / "waits").touch()
    with rc.Session(cores=1, run_dir=tmp_path / "first", keep_results=True) as session:
        future = session.submit(count_to, 60, str(tmp_path), name="count")
        wait_for(log, WAITS_AT + 1)
        session.stop(60)
        assert isinstance(future.exception(timeout=60), rc.TaskStoppedError)
    log.unlink()
    (tmp_path / "waits").unlink()
    with rc.Session(cores=1, run_dir=tmp_path / "second", resume=tmp_path / "first") as session:
        assert session.submit(count_to, 5, str(tmp_path), name="count").result(timeout=60) == 5
    assert counted(log) == list(range(5))
    warnings = [event["message"] for event in read_run(tmp_path / "second").of_kind("warning")]
    assert warnings == ["begins anew, without its checkpoint: its arguments have changed"]


def test_outside_a_run_there_is_a_folder_and_no_stop(tmp_path: Path) -> None:
    """A function that writes checkpoints can be called as any other."""
    assert rc.checkpoint_dir().is_dir()
    assert rc.stopping() is False
    assert count_to(2, str(tmp_path)) == 2
