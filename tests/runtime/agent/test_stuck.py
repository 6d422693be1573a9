"""Ranks that wait for one another in vain: who, in what, and where in the user's code."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import deeprc as rc
from deeprc.errors import StuckCollectiveError, TaskTimeoutError
from deeprc.journal import read_run
from deeprc.runtime.link.rank_page import PageReader, Progress
from deeprc.runtime.link.whereabouts import RETURNED, Frame, Whereabouts, described, located, parsed
from tests.runtime.agent import stuck_tasks


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rc.Session]:
    """One for all: what was imported for the ranks of one test serves the next."""
    session = rc.Session(cores=4, run_dir=tmp_path_factory.mktemp("stuck") / "run")
    yield session
    session.close()


def at(function: Any, code: str) -> str:
    """Where in `stuck_tasks` a function has a line of that code."""
    lines, first = inspect.getsourcelines(function)
    numbers = [first + number for number, line in enumerate(lines) if line.strip() == code]
    return f"at {stuck_tasks.__file__}:{numbers[0]} ({function.__name__}): {code}"


_OPERATIONS = {
    "barrier": "comm.barrier()",
    "all_reduce": "comm.all_reduce(np.ones(3))",
    "all_to_all": 'comm.all_to_all([b"x"] * comm.size)',
}


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
@pytest.mark.parametrize("operation", list(_OPERATIONS))
def test_a_peer_that_has_returned(lasting: rc.Session, comm: Any, operation: str) -> None:
    """Without any timeout: the error has all ranks, the operation and the line, and the session goes on."""
    future = lasting.submit(stuck_tasks.one_leaves, operation, ranks=3, comm=comm, retries=3)
    with pytest.raises(
        StuckCollectiveError, match="rank 1 on localhost: waits in vain for rank 0, which has"
    ) as caught:
        future.result(timeout=60)
    place = f"in {operation}, {at(stuck_tasks.one_leaves, _OPERATIONS[operation])}"
    assert caught.value.whereabouts == {0: "has returned", 1: place, 2: place}
    assert f"ranks 1-2: {place}\n" in str(caught.value)
    failures = [each for each in read_run(lasting.run_directory).of_kind("task.failed") if each["task"] == future.task]
    assert [place in failed["message"] for failed in failures] == [True]
    assert lasting.submit(stuck_tasks.one_is_late, 0.0, ranks=3, comm=comm).result(timeout=60) == 0


def test_a_peer_whose_return_is_heard_of_late(lasting: rc.Session) -> None:
    """What the others raise since it has hung up is not taken for the cause."""
    future = lasting.submit(stuck_tasks.one_leaves_without_a_word, ranks=3, comm="gloo")
    with pytest.raises(StuckCollectiveError) as caught:
        future.result(timeout=60)
    assert caught.value.whereabouts[0] == "has returned"


def test_gloo_behind_the_communicator(lasting: rc.Session) -> None:
    """A user's own call of torch.distributed is named as such."""
    future = lasting.submit(stuck_tasks.one_leaves, "raw", ranks=2, comm="gloo")
    with pytest.raises(StuckCollectiveError) as caught:
        future.result(timeout=60)
    line = at(stuck_tasks.enter_raw, "dist.barrier(comm.process_group)")
    assert caught.value.whereabouts == {0: "has returned", 1: f"in torch.distributed.barrier, {line}"}


@pytest.mark.slow
def test_mpi_behind_the_communicator(tmp_path: Path) -> None:
    """A user's own MPI calls are not counted: they get the stated patience."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        import deeprc as rc
        from tests.runtime.agent import stuck_tasks
        with rc.Session(cores=4, run_dir=sys.argv[1]) as session:
            for rank in (0, 1):
                print(session.submit(stuck_tasks.one_leaves, "raw", rank, ranks=3, comm="mpi").exception(timeout=60))
            print(session.submit(stuck_tasks.two_go_on, 2.5, ranks=3, comm="mpi").result(timeout=60))
    """)
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DEEPRC_STUCK_S": "4"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    line = at(stuck_tasks.enter_raw, "comm.mpi.Barrier()")
    assert f"ranks 1-2: in Barrier, {line}\n" in done.stdout, done.stderr
    assert f"ranks 0, 2: in Barrier, {line}\n" in done.stdout
    assert done.stdout.endswith("\n0\n")


def warm(session: rc.Session, ranks: int, comm: Any) -> None:
    """Have ranks started and libraries loaded: what is left of a timeout is the task's."""
    assert session.submit(stuck_tasks.one_is_late, 0.0, ranks=ranks, comm=comm).result(timeout=60) == 0


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
@pytest.mark.parametrize("raw", [False, True])
def test_a_timeout_says_where_ranks_are(lasting: rc.Session, comm: Any, raw: bool) -> None:
    """One sleeps in its own code, the others wait for it."""
    warm(lasting, 3, comm)
    future = lasting.submit(stuck_tasks.one_sleeps, raw, ranks=3, comm=comm, timeout=4)
    with pytest.raises(TaskTimeoutError, match=r"ranks still running: \[0, 1, 2\]") as caught:
        future.result(timeout=60)
    sleeps = f"not in a collective, {at(stuck_tasks.one_sleeps, 'time.sleep(600)')}"
    if not raw:
        waits = f"in barrier, {at(stuck_tasks.one_sleeps, 'enter_raw(comm) if raw else comm.barrier()')}"
    elif comm == "mpi":
        waits = f"in Barrier, {at(stuck_tasks.enter_raw, 'comm.mpi.Barrier()')}"
    else:
        waits = f"in torch.distributed.barrier, {at(stuck_tasks.enter_raw, 'dist.barrier(comm.process_group)')}"
    assert caught.value.whereabouts == {0: sleeps, 1: waits, 2: waits}


def test_one_waits_one_computes_one_has_returned(lasting: rc.Session) -> None:
    """A user's own endless loop is shown with its line, beside the rank that waits."""
    future = lasting.submit(stuck_tasks.everyone_elsewhere, ranks=3, comm="mpi")
    with pytest.raises(StuckCollectiveError) as caught:
        future.result(timeout=60)
    assert caught.value.whereabouts[0] == "has returned"
    assert caught.value.whereabouts[1].startswith("in barrier, at ")
    loop = [at(stuck_tasks.everyone_elsewhere, line) for line in ("while True:", "pass")]
    assert caught.value.whereabouts[2] in [f"not in a collective, {line}" for line in loop]


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_a_call_that_keeps_the_gil_answers_too(lasting: rc.Session, comm: Any) -> None:
    """No Python can run in that rank, and its line is told all the same."""
    warm(lasting, 2, comm)
    future = lasting.submit(stuck_tasks.hold_the_gil, ranks=2, comm=comm, timeout=4)
    with pytest.raises(TaskTimeoutError) as caught:
        future.result(timeout=60)
    assert caught.value.whereabouts[0] == f"not in a collective, {at(stuck_tasks.hold_the_gil, 'pow(3, 10**9)')}"


def test_a_rank_that_cannot_answer(lasting: rc.Session) -> None:
    """What the kernel says of it is told instead, and the others are not waited for any longer."""
    warm(lasting, 2, "gloo")
    future = lasting.submit(stuck_tasks.stop_self, ranks=2, comm="gloo", timeout=4)
    with pytest.raises(TaskTimeoutError) as caught:
        future.result(timeout=60)
    assert caught.value.whereabouts[0] == "is stopped"
    assert caught.value.whereabouts[1].startswith("in barrier, at ")


def test_an_exchange_is_named(lasting: rc.Session) -> None:
    """Below the table's methods: the line of the user's that asked for it."""
    future = lasting.submit(stuck_tasks.in_an_exchange, ranks=2, comm="mpi")
    with pytest.raises(StuckCollectiveError) as caught:
        future.result(timeout=60)
    line = at(stuck_tasks.in_an_exchange, 'return left.join(right, on="key").collect().height')
    assert caught.value.whereabouts[1].endswith(line)
    assert caught.value.whereabouts[1].startswith("in all_")
    assert " of a table's exchange, at" in caught.value.whereabouts[1]


def test_across_nodes(tmp_path: Path) -> None:
    """The rank that has returned is on one node, those that wait on another."""
    with rc.Session(cores=2, nodes=2, run_dir=tmp_path / "run") as session:
        future = session.submit(stuck_tasks.one_leaves, "barrier", ranks=4, comm="mpi")
        with pytest.raises(StuckCollectiveError) as caught:
            future.result(timeout=60)
        warm(session, 4, "gloo")
        future = session.submit(stuck_tasks.one_sleeps, False, ranks=4, comm="gloo", timeout=4)
        with pytest.raises(TaskTimeoutError) as late:
            future.result(timeout=60)
    waits = f"in barrier, {at(stuck_tasks.one_leaves, 'comm.barrier()')}"
    assert caught.value.whereabouts == {0: "has returned", 1: waits, 2: waits, 3: waits}
    assert sorted(late.value.whereabouts) == [0, 1, 2, 3]


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_ranks_may_return_at_different_times(lasting: rc.Session, comm: Any) -> None:
    """A rank that works on by itself is no mistake."""
    assert lasting.submit(stuck_tasks.one_is_late, 3.0, ranks=3, comm=comm).result(timeout=60) == 0


_SITE = "/env/lib/python3.11/site-packages"


def test_whose_line_it_is() -> None:
    """The innermost of the user's: of no library, or of the installed package that the task's function is from."""
    dump = f"""Stack (most recent call first):
  File "{_SITE}/torch/autograd/graph.py", line 841 in _engine_run_backward
  File "{_SITE}/lightning/trainer.py", line 9 in fit
  File "/project/m\\xe4in.py", line 3 in train
  File "/project/main.py", line 7 in task
"""
    place = located(0, "n1", parsed(dump), "gloo")
    assert "at /project/mäin.py:3 (train), in _engine_run_backward" in place.text
    assert not place.waits
    installed = dump.replace("/project", f"{_SITE}/mine")
    assert f"at {_SITE}/mine/m" in located(0, "n1", parsed(installed), "gloo").text


def test_ranks_at_one_place_share_a_line() -> None:
    """Thousands of ranks, a few lines."""
    places = [Whereabouts(rank, "n1", "in barrier", waits=True) for rank in range(1000) if rank != 7]
    assert described([*places, Whereabouts(7, "n1", RETURNED)]) == (
        "  ranks 0-6, 8-999: in barrier\n  rank 7: has returned"
    )
    assert Frame("a", 1, "f") == parsed('  File "a", line 1 in f\n')[0]


def test_a_rank_that_is_just_making_its_page() -> None:
    """Its agent may look at any moment: nothing counted, nothing answered, no error."""
    file = os.memfd_create("deeprc-rank")
    try:
        page = PageReader()
        assert page.progress(os.getpid()) == Progress(0, ended=False)
        assert not page.ask(os.getpid())
        page.close()
        assert page.progress(os.getpid()) == Progress(0, ended=False)
    finally:
        os.close(file)
