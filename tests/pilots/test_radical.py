"""A real RADICAL-Pilot on this machine: its own start takes about 20 s and its end 10 s."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import deeprc as rc
from deeprc.errors import AgentLostError, ResourceError
from deeprc.journal import read_run
from deeprc.pilots.leftovers import end_processes_in, processes_in
from deeprc.pilots.radical import RadicalPilot
from tests.pilots.sites import radical_session, started_as
from tests.runtime import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def places(comm: rc.Communicator) -> list[tuple[int, int, str]]:
    return comm.all_gather((comm.rank, os.getpid(), str(Path.cwd())))


def agents(run: Path) -> list[psutil.Process]:
    """The agents of a run, on this machine."""
    return started_as({"deeprc.runtime.agent", str(run)})


def wait_for(what: Callable[[], Any], limit_s: float = 120.0) -> Any:
    deadline = time.monotonic() + limit_s
    while not (value := what()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return value


def running(session: rc.Session) -> rc.Future:
    future = session.submit(time.sleep, 600)
    wait_for(future.running)
    return future


def assert_nothing_is_left(run: Path) -> None:
    """No process, no sandbox, no key."""
    assert not processes_in(run)
    assert not agents(run)
    assert not (run / "radical").exists()
    assert not list(run.glob(".connection*"))
    assert not list(Path.cwd().glob("rp.session.*"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run's directory; whatever a failing test leaves in it is ended."""
    yield tmp_path / "run"
    end_processes_in(tmp_path / "run")
    for agent in agents(tmp_path / "run"):
        agent.kill()


def test_gangs_span_two_nodes_with_both_communicators_and_nothing_is_left(run: Path) -> None:
    """In the user's working directory, as on a laptop; then no process, no sandbox, no file in the home folder."""
    home = Path.home() / "radical.pilot.sandbox"
    before = home.exists()
    with rc.Session("radical", nodes=2, cores=1, run_dir=run) as session:
        for comm in ("gloo", "mpi"):
            told = session.submit(places, ranks=2, comm=comm, name=comm).result(timeout=120)  # type: ignore[arg-type]
            assert [(rank, directory) for rank, _, directory in told] == [(0, str(Path.cwd())), (1, str(Path.cwd()))]
        assert len(agents(run)) == 2
    assert_nothing_is_left(run)
    assert home.exists() == before
    started = read_run(run).first("run.started")
    assert started and started["pilot"] == "radical"
    assert not (run / "logs" / "radical").exists()


def test_a_session_that_the_user_has_is_used_and_stays_open(run: Path) -> None:
    """Pilot and managers are made in it and closed; its owner goes on with it."""
    with radical_session() as session:
        import radical.pilot as rp

        with rc.Session(RadicalPilot(session=session), cores=1, run_dir=run) as ours:
            assert ours.submit(abs, -1).result(timeout=120) == 1
        [pilot] = [pilot for manager in session._pmgrs.values() for pilot in manager.get_pilots()]
        assert pilot.state in ("CANCELED", "DONE")
        # A closed one makes no managers.
        rp.TaskManager(session=session).close()
        assert not agents(run)
        assert not (run / "radical").exists()


def test_a_killed_agent_and_then_a_killed_radical_pilot_are_noticed(run: Path) -> None:
    """Of two nodes the first is lost with its agent, by its name and signal; the other with RADICAL-Pilot itself."""
    with rc.Session("radical", nodes=2, cores=1, run_dir=run) as session:
        first, second = running(session), running(session)
        victim = agents(run)[0]
        victim.kill()
        lost = next(
            future for future in (first, second) if wait_for(lambda: first.done() or second.done()) and future.done()
        )
        with pytest.raises(AgentLostError, match="killed by SIGKILL"):
            lost.result(timeout=1)
        other = second if lost is first else first
        assert not other.done()
        for process in processes_in(run):
            if "deeprc.pilots.radical_session" in faults.words_of(process):
                process.kill()
        with pytest.raises(AgentLostError, match=r"RADICAL-Pilot's process.*SIGKILL"):
            other.result(timeout=60)
    assert_nothing_is_left(run)
    assert list((run / "logs" / "radical").rglob("bootstrap_0.out"))


def test_a_stopped_bootstrapper_is_a_stated_time_and_an_error(run: Path) -> None:
    """What hangs in set-up ends within the limit, tells the last state, and goes."""

    given_up, stopped = threading.Event(), threading.Event()

    def stop() -> None:
        # It and what it has started until it is seen: whichever gets furthest would go on.
        while not given_up.wait(0.02):
            for process in processes_in(run.parent):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if any(part in " ".join(process.cmdline()) for part in ("bootstrap_0.sh", "radical-pilot-agent")):
                        process.suspend()
                        stopped.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        # On a busy machine RADICAL-Pilot needs longer to come to its bootstrapper.
        for limit_s, place in ((45, run), (150, run.with_name("again"))):
            with pytest.raises(ResourceError, match=rf"not ready within {limit_s} s: 0 of 1 agents") as caught:
                rc.Session(RadicalPilot(start_limit_s=limit_s), cores=1, run_dir=place)
            if stopped.is_set():
                break
    finally:
        given_up.set()
        stopper.join()
    assert "PMGR_ACTIVE_PENDING" in str(caught.value)
    assert_nothing_is_left(place)
    assert (place / "logs" / "radical.log").exists()


def test_a_sandbox_that_cannot_be_written_is_told(run: Path) -> None:
    """With the file system's own words, and nothing is left."""

    def spoil() -> None:
        wait_for((run / "radical").exists)
        (run / "radical" / "radical.pilot.sandbox").touch()

    spoiler = threading.Thread(target=spoil)
    spoiler.start()
    with pytest.raises(
        ResourceError, match=r"pilot.0000 is FAILED(?s:.*)(NotADirectory|FileExists)Error.*pilot.sandbox"
    ):
        rc.Session("radical", cores=1, run_dir=run)
    spoiler.join(60)
    assert_nothing_is_left(run)


def test_when_the_driver_is_killed_radical_pilot_goes_and_cleans_up(run: Path) -> None:
    """Nobody is left to do it: its process ends what it has started and removes its sandbox."""
    script = (
        "import os, sys, time, deeprc as rc\n"
        "session = rc.Session('radical', cores=1, run_dir=sys.argv[1])\n"
        "session.submit(time.sleep, 600)\n"
        "session.submit(abs, -1)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(run)], timeout=250, check=False)
    assert done.returncode == -signal.SIGKILL
    assert processes_in(run)
    # As long as RADICAL-Pilot may take to close, then what it takes to end it.
    ended = faults.wait_until(lambda: not processes_in(run) and not agents(run), timeout_s=120)
    assert ended, [process.cmdline() for process in processes_in(run) + agents(run)]
    assert faults.wait_until(lambda: not (run / "radical").exists())


def test_what_radical_pilot_says_of_its_failure_is_told(run: Path) -> None:
    """A resource that it does not know: its own words, at once, and nothing is left."""
    with pytest.raises(ResourceError, match="nowhere"):
        rc.Session(RadicalPilot("nowhere.cluster", host="127.0.0.1"), run_dir=run)
    assert_nothing_is_left(run)
