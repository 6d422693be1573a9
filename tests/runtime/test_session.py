"""What a user may count on when everything goes well."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import deeprc as rc
from deeprc.errors import ResourceError, SessionClosedError, SpecError
from deeprc.journal import read_run
from deeprc.pilots.leases import DIRECTORY_VARIABLE
from deeprc.pilots.local import LocalPilot
from deeprc.spec import Pipeline, TaskSpec
from tests.runtime import faults


def add(left: int, right: int) -> int:
    return left + right


def ranks_and_pids(comm: rc.Communicator) -> list[tuple[int, int]]:
    return comm.all_gather((comm.rank, os.getpid()))


def total(values: Any) -> int:
    return sum(values["numbers"]) + values["more"].one


def pid() -> int:
    return os.getpid()


@dataclasses.dataclass
class Holder:
    one: Any


def test_futures_nested_anywhere_in_arguments_are_the_graph(lasting: rc.Session) -> None:
    """A future in a list, a dict or a dataclass is replaced by its task's result."""
    one, two = lasting.submit(add, 1, 0), lasting.submit(add, 1, 1)
    three = lasting.submit(total, {"numbers": [one, two, 3], "more": Holder(one)})
    assert three.result(timeout=60) == 1 + 2 + 3 + 1


def test_a_future_of_another_session_is_refused(lasting: rc.Session, tmp_path: Path) -> None:
    """A task of its name may be here too, even the one that would wait for it: pass its result."""
    with rc.Session(cores=1, run_dir=tmp_path / "run") as other:
        theirs = other.submit(add, 1, 2)
        with pytest.raises(SpecError, match=r"'add' is another session's.* pass its result\(\)"):
            lasting.submit(add, theirs, 3)
        assert lasting.submit(add, theirs.result(timeout=60), 3).result(timeout=60) == 6


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_a_gang_has_its_ranks_and_stays_warm(lasting: rc.Session, comm: Any) -> None:
    """All ranks run in processes of their own, and the next task finds the same ones."""
    first = lasting.submit(ranks_and_pids, ranks=3, comm=comm).result(timeout=90)
    second = lasting.submit(ranks_and_pids, ranks=3, comm=comm).result(timeout=90)
    assert [rank for rank, _ in first] == [0, 1, 2]
    assert len({process for _, process in first}) == 3
    assert {process for _, process in first} == {process for _, process in second}


def test_isolated_tasks_share_no_process(lasting: rc.Session) -> None:
    """isolated=True runs in a fresh rank that ends with the task."""
    pids = [lasting.submit(pid, isolated=True).result(timeout=60) for _ in range(3)]
    assert len(set(pids)) == 3


def test_map_submits_one_task_for_each_element(lasting: rc.Session) -> None:
    """`map` is `submit` over iterables, in order."""
    assert [future.result(timeout=60) for future in lasting.map(add, range(5), range(5))] == [0, 2, 4, 6, 8]


def test_many_small_tasks_all_end(lasting: rc.Session) -> None:
    """A few hundred tasks in a tree give the right sum."""
    level = [lasting.submit(add, number, 0) for number in range(256)]
    while len(level) > 1:
        level = [lasting.submit(add, left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
    assert level[0].result(timeout=90) == sum(range(256))


def test_large_results_and_arguments_arrive_whole(lasting: rc.Session) -> None:
    """Megabytes go by file, bit for bit."""
    payload = os.urandom(5 << 20)
    doubled = lasting.submit(lambda data: data + data, payload)
    assert lasting.submit(lambda data: data[: len(data) // 2], doubled).result(timeout=60) == payload


@pytest.mark.parametrize("name", ["../../out", "add (vectorized)", "..", "", "x" * 300])
def test_a_task_is_named_so_that_files_can_be(lasting: rc.Session, name: str) -> None:
    """Whatever its function calls itself: the file of a large result lies in the run, and is found."""

    def large() -> bytes:
        return bytes(3 << 20)

    large.__name__ = name
    future = lasting.submit(large)
    assert len(future.result(timeout=60)) == 3 << 20
    [stored] = (lasting.run_directory / "results").glob(f"{future.task}.*")
    assert stored.parent == lasting.run_directory / "results"


def test_functions_of_a_script_and_their_state_travel(tmp_path: Path) -> None:
    """Functions defined in `__main__`, closures and lambdas run on ranks of the script's own interpreter."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        import deeprc as rc
        FACTOR = 3
        def bad(argument):
            raise KeyError(argument)  # the line to be shown
        def scaled(x):
            return x * FACTOR, sys.executable
        with rc.Session(cores=2) as session:
            offset = 4
            value, interpreter = session.submit(scaled, 2).result(timeout=60)
            print(session.submit(lambda x: x + offset, value).result(timeout=60), interpreter == sys.executable)
            session.submit(bad, 1).exception()
            print(session.submit(bad, 1).exception(timeout=60), file=sys.stderr)
    """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=90, check=False
    )
    assert done.stdout.strip() == "10 True", done.stderr
    assert "raise KeyError(argument)  # the line to be shown" in done.stderr
    assert len(list((tmp_path / "deeprc-runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": 5, "comm": "mpi"}, "largest node of this session has 4"),
        ({"gpus": 1}, "has no GPU"),
        ({"comm": "smoke"}, "comm"),
        ({"ranks": 0}, "ranks"),
        ({"comm": "nccl"}, "nccl"),
        ({"ranks": 2}, "takes no communicator"),
        ({"memory": "900GiB"}, "memory"),
        ({"name": "no spaces allowed"}, "name"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_what_cannot_run_is_refused_at_submit(lasting: rc.Session, options: Any, message: str) -> None:
    """Before any work, with the reason and the valid values."""
    with pytest.raises(SpecError, match=message):
        lasting.submit(add, 1, 2, **options)


def on_gpu(path: str) -> Any:
    return rc.scan_csv(path).collect(engine="gpu")


def on_some_engine(path: str, engine: Any = "streaming") -> Any:
    return rc.scan_csv(path).collect(engine=engine)


def _one_task(function: Any, **arguments: Any) -> Pipeline:
    return Pipeline(name="one", tasks=(TaskSpec.of("table", function, "rows.csv", **arguments),))


def test_tables_on_a_gpu_are_refused_at_submit(lasting: rc.Session) -> None:
    """Where the function's code or its argument says so, by `submit` and by a pipeline; nothing has run."""
    for submit in (
        lambda: lasting.submit(on_gpu, "rows.csv"),
        lambda: lasting.submit(on_some_engine, "rows.csv", "gpu"),
        lambda: lasting.submit(on_some_engine, "rows.csv", engine="gpu"),
        lambda: lasting.run(_one_task(on_gpu)),
        lambda: lasting.run(_one_task(on_some_engine, engine="gpu")),
    ):
        with pytest.raises(SpecError, match=r"this task has gpus=0\. Use gpus=1"):
            submit()
    with pytest.raises(SpecError, match="has no GPU"):
        lasting.submit(on_some_engine, "rows.csv", engine="streaming", gpus=1)


def test_wrong_arguments_and_unpicklable_ones_are_refused(lasting: rc.Session) -> None:
    """A call that could not succeed never reaches a rank."""
    with pytest.raises(SpecError, match="missing 'right'"):
        lasting.submit(add, 1)
    with pytest.raises(SpecError, match="no parameter 'up'"):
        lasting.submit(add, 1, 2, up=3)
    with pytest.raises(SpecError, match="cannot be sent"):
        lasting.submit(add, 1, threading.Lock())
    with pytest.raises(SpecError, match="already has a task"):
        lasting.submit(add, 1, 2, name="twice")
        lasting.submit(add, 1, 2, name="twice")


def test_sessions_are_refused_what_the_machine_lacks(tmp_path: Path) -> None:
    """An unknown pilot, too many GPUs or nodes, or a used run directory."""
    with pytest.raises(SpecError, match=r"unknown pilot 'locl'.*Did you mean 'local'"):
        rc.Session("locl", run_dir=tmp_path / "a")
    with pytest.raises(ResourceError, match="GPUs"):
        rc.Session(gpus=64, run_dir=tmp_path / "b")
    with pytest.raises(ResourceError, match="at least one node"):
        rc.Session(nodes=0, run_dir=tmp_path / "c")
    with rc.Session(cores=1, run_dir=tmp_path / "d"):
        pass
    with pytest.raises(SpecError, match="already holds a run"):
        rc.Session(cores=1, run_dir=tmp_path / "d")


def test_a_closed_session_says_so(tmp_path: Path) -> None:
    """Submitting after the block is an error that says what to do."""
    with rc.Session(cores=1, run_dir=tmp_path / "run") as session:
        pass
    with pytest.raises(SessionClosedError, match="inside its `with` block"):
        session.submit(add, 1, 2)


def test_a_session_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    """Its record cannot be written: the agents that had been started are ended, and the keys removed."""
    (tmp_path / "run" / "environment.json").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        rc.Session(cores=1, run_dir=tmp_path / "run")
    assert not [child for child in psutil.Process().children() if str(tmp_path) in " ".join(faults.words_of(child))]
    assert not (tmp_path / "run" / ".connection.json").exists()


class StubbornPilot(LocalPilot):
    """Complains when it is closed, as a site's scheduler may that does not answer."""

    def close(self, timeout_s: float = 10.0) -> None:
        super().close(timeout_s)
        raise ResourceError("the site does not answer")


def test_a_pilot_that_fails_to_close_leaves_the_record_whole(tmp_path: Path) -> None:
    """The error is told; keys are removed, and the run is described, all the same."""
    session = rc.Session(StubbornPilot(), cores=1, run_dir=tmp_path / "run")
    with pytest.raises(ResourceError, match="does not answer"):
        session.close()
    assert not (tmp_path / "run" / ".connection.json").exists()
    assert (tmp_path / "run" / "spec.json").exists()
    assert [event["status"] for event in read_run(tmp_path / "run").of_kind("run.finished")] == ["succeeded"]


def test_the_journal_tells_the_run(tmp_path: Path) -> None:
    """Every change of state is an event; files named in arguments are fingerprinted."""
    source = tmp_path / "input.csv"
    source.write_text("a\n1\n")
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        session.submit(len, str(source)).result(timeout=60)
    run = read_run(tmp_path / "run")
    kinds = [event["kind"] for event in run.events]
    assert kinds[0] == "run.started"
    assert kinds[-1] == "run.finished"
    assert {"task.submitted", "task.started", "task.finished", "zygote.started", "rank.started"} <= set(kinds)
    assert [event["path"] for event in run.of_kind("input")] == [str(source)]
    assert run.environment["packages"]["polars"]
    assert run.spec["tasks"][0]["name"] == "len"
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


def test_cancel_ends_waiting_and_running_tasks(lasting: rc.Session) -> None:
    """A cancelled task ends with an error that says so, and so does what needs it; ranks are free again."""
    running = lasting.submit(time.sleep, 600)
    waiting = lasting.submit(add, running, 1)
    while not running.running():
        time.sleep(0.02)
    assert lasting.cancel(running)
    for future in (running, waiting):
        with pytest.raises(rc.DeepRCError, match="cancelled"):
            future.result(timeout=60)
    assert lasting.submit(add, 1, 1).result(timeout=60) == 2


def test_a_session_that_was_left_open_is_named_when_cores_are_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a notebook's cell is run again: what holds the cores is said where the task is refused."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    cores = len(os.sched_getaffinity(0))
    with (
        rc.Session(run_dir=tmp_path / "first", name="first") as first,
        rc.Session(run_dir=tmp_path / "second") as second,
    ):
        assert repr(first) == f"<Session 'first', open; its run: {tmp_path / 'first'}>"
        with pytest.raises(
            rc.DeepRCError, match=r"Note: cores .* other sessions of yours \(this process\), until they"
        ):
            second.submit(ranks_and_pids, ranks=cores + 1)
    assert "closed" in repr(first)
