"""The driver's thread: what reaches it late, from callbacks, or from a pilot in trouble does not end the run."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import deeprc as rc
from deeprc.errors import DependencyFailedError
from deeprc.journal import read_run
from deeprc.pilots.local import LocalPilot
from tests.runtime import faults


def _open_files() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def wait_together(comm: rc.Communicator) -> None:
    comm.barrier()
    time.sleep(600)


def test_a_gang_may_be_cancelled_when_a_node_of_its_has_just_been_lost(tmp_path: Path) -> None:
    """While its ranks on the other node are still being ended: it is cancelled, and that node serves others."""
    with rc.Session(cores=1, nodes=2, run_dir=tmp_path / "run") as session:
        gang = session.submit(wait_together, ranks=2, comm="gloo")

        def cancel(event: dict[str, Any]) -> None:
            if event["kind"] == "warning" and "is lost" in event["message"]:
                session.cancel(gang)

        session.subscribe(cancel)
        assert faults.wait_until(lambda: list(read_run(session.run_directory).of_kind("task.started")))
        [agent] = [child for child in psutil.Process().children() if "localhost-2" in faults.words_of(child)]
        agent.kill()
        assert isinstance(gang.exception(timeout=60), DependencyFailedError)
        assert session.submit(len, [1, 2]).result(timeout=60) == 2


def test_what_comes_after_the_end_is_written_nowhere(tmp_path: Path) -> None:
    """A signal handler, a thread that hashes inputs: a file opened since, which has a number of the driver's, is left
    as it is."""
    session = rc.Session(cores=1, run_dir=tmp_path / "run")
    assert session.submit(len, [1, 2]).result(timeout=60) == 2
    before = _open_files()
    session.close()
    freed = before - _open_files()
    others = [(tmp_path / f"file-{number}").open("wb", buffering=0) for number in range(len(freed) + 1)]
    session.stop(1.0)
    session.cancel(rc.Future("never", lambda task: session._driver.cancel(task, "late")))
    assert all(os.fstat(other.fileno()).st_size == 0 for other in others)
    for other in others:
        other.close()


def test_a_callback_that_leaves_does_not_end_the_run(tmp_path: Path) -> None:
    """`sys.exit` in a done-callback, which runs in the driver's thread: other tasks are waited for as ever."""
    with rc.Session(cores=1, run_dir=tmp_path / "run") as session:
        heard = []
        first = session.submit(len, [1, 2])
        first.add_done_callback(lambda future: sys.exit(3))
        first.add_done_callback(heard.append)
        assert first.result(timeout=60) == 2
        assert session.submit(len, [1, 2, 3]).result(timeout=60) == 3
        assert heard == [first]


class _Leaves:
    """Ends the thread in which it is unpickled."""

    def __reduce__(self) -> Any:
        return sys.exit, (4,)


def test_a_result_that_leaves_when_it_is_read_fails_its_task(lasting: rc.Session) -> None:
    """Results are read in the driver's thread: whatever that raises is the error of this task alone."""
    assert "cannot be read" in str(lasting.submit(_Leaves).exception(timeout=60))
    assert lasting.submit(len, [1, 2, 3]).result(timeout=60) == 3


class _Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_a_result_without_words_is_a_result(lasting: rc.Session) -> None:
    """The journal has it in short, which is made in the driver's thread."""
    assert isinstance(lasting.submit(_Unspeakable).result(timeout=60), _Unspeakable)


class BlindPilot(LocalPilot):
    """Cannot see its nodes any more, as when a site's own service is away."""

    def lost_nodes(self) -> dict[str, str]:
        raise ConnectionError("the site does not answer")


def test_a_pilot_that_cannot_look_loses_no_node(tmp_path: Path) -> None:
    """Agents say themselves that they live; the journal says once that the pilot is blind."""
    with rc.Session(BlindPilot(), cores=1, run_dir=tmp_path / "run") as session:
        assert session.submit(time.sleep, 2.5).exception(timeout=60) is None
        assert session.submit(len, [1, 2]).result(timeout=60) == 2
    messages = [event["message"] for event in read_run(tmp_path / "run").of_kind("warning")]
    assert [message for message in messages if "does not answer" in message] == [
        "BlindPilot cannot say whether nodes are lost: ConnectionError('the site does not answer')"
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_of_the_driver_is_told_to_all_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever for a thread that has ended, nor for one that had when a task was submitted."""
    session = rc.Session(cores=1, run_dir=tmp_path / "run")
    monkeypatch.setattr(session._driver, "_place", lambda: {}["defect"])
    for _ in range(2):
        assert "the driver failed: KeyError('defect')" in str(session.submit(len, [1, 2]).exception(timeout=60))
        session._driver._thread.join(60)
    session.close()
