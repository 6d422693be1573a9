"""Agents that stop: for a moment, which is nothing, or for too long, which is the loss of their node."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

import deeprc as rc
from deeprc.errors import AgentLostError
from deeprc.journal import read_run
from deeprc.runtime.driver import liveness
from deeprc.runtime.link import lease
from deeprc.runtime.pilot import Allocation, Node
from tests.runtime import faults, storm

_SCRIPT = """
    import os, sys, time
    from pathlib import Path
    import psutil
    import deeprc as rc
    from tests.runtime import faults

    def work(folder: str) -> int:
        # Who runs, and when: a line for each start, and one for each step.
        with open(folder + "/starts", "a") as file:
            file.write(f"{os.getpid()}\\n")
        for _ in range(100):
            time.sleep(0.05)
            with open(folder + "/steps", "a") as file:
                file.write(f"{os.getpid()} {time.monotonic()}\\n")
        return os.getpid()

    def after(before: int) -> int:
        return before

    folder, stopped_s = sys.argv[1], float(sys.argv[2])
    with rc.Session(cores=1, nodes=2, run_dir=folder + "/run") as session:
        future = session.submit(work, folder, retries=2)
        last = session.submit(after, future)
        starts = Path(folder) / "starts"
        assert faults.wait_until(lambda: starts.exists() and starts.read_text())
        rank = int(starts.read_text())
        agent = psutil.Process(rank).parent().parent()
        agent.suspend()
        time.sleep(stopped_s)
        ended_while_stopped = not faults.alive(rank)
        agent.resume()
        assert last.result(timeout=60) == future.result(timeout=60)
        print(future.result(), ended_while_stopped)
        print(faults.wait_until(lambda: not faults.alive(agent.pid), timeout_s=20 if stopped_s > 3 else 0.1))
"""


@pytest.mark.parametrize(
    ("stopped_s", "silent_s"), [(1.0, 20.0), pytest.param(13.0, 8.0, marks=pytest.mark.slow, id="for-too-long")]
)
def test_a_stopped_agent(tmp_path: Path, stopped_s: float, silent_s: float) -> None:
    """Shorter than its lease: nothing happens. Longer: its ranks are ended though it is stopped, only then does its
    task run on the other node, and once it goes on it ends."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_SCRIPT))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DEEPRC_SILENT_S": str(silent_s)}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(stopped_s)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result, ranks_ended, agent_ended = done.stdout.split()
    starts = (tmp_path / "starts").read_text().split()
    lost = stopped_s > silent_s
    assert [ranks_ended, agent_ended] == [str(lost)] * 2
    assert len(starts) == (2 if lost else 1)
    assert result == starts[-1]
    _assert_one_after_the_other(tmp_path / "steps", starts)
    run = read_run(tmp_path / "run")
    assert len([event for event in run.of_kind("task.finished") if event["task"] == "work"]) == 1
    messages = [event["message"] for event in run.of_kind("warning")]
    assert any("is lost: its agent has been silent" in message for message in messages) == lost


def _assert_one_after_the_other(steps: Path, pids: list[str]) -> None:
    """No attempt took a step once the next had begun."""
    taken: dict[str, list[float]] = {pid: [] for pid in pids}
    for line in steps.read_text().splitlines():
        pid, moment = line.split()
        taken[pid].append(float(moment))
    assert all(taken.values())
    for earlier, later in itertools.pairwise(pids):
        assert max(taken[earlier]) < min(taken[later])


def test_a_lease_runs_out_before_its_node_is_given_up() -> None:
    """Whatever is lost on the way: it counts from the sending of the last heartbeat that the driver has answered."""
    assert lease.LEASE_S < lease.SILENT_S
    held = lease.Lease()
    left = lease.left_s(held.file)
    assert not held.is_over
    held.renew(lease.now() - lease.LEASE_S + 5)
    assert 0 < left() <= 5
    held.renew(lease.now() - lease.LEASE_S)
    assert held.is_over
    assert left() <= 0


_CUT = """
    import sys, time
    import deeprc as rc
    from deeprc.runtime.driver.driver import Driver
    from tests.runtime import faults

    def work() -> None:
        time.sleep(600)

    with rc.Session(cores=1, run_dir=sys.argv[1]) as session:
        future = session.submit(work)
        assert faults.wait_until(future.running)
        agent = faults.agent_of(session)
        assert faults.wait_until(lambda: agent.children(recursive=True))
        # What the agent says still comes, what is said to it does not: half of a cut.
        Driver._renew_lease = lambda self, node: None
        print(faults.wait_until(lambda: not faults.alive(agent.pid), timeout_s=60))
        print(type(future.exception(timeout=60)).__name__)
"""


def test_an_agent_that_is_not_heard_ends(tmp_path: Path) -> None:
    """Also if only one direction is cut: it ends with its ranks, and its tasks fail with the reason."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_CUT))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DEEPRC_SILENT_S": "8"}
    command = [sys.executable, str(script), str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["True", "AgentLostError"], done.stderr
    assert "ending all ranks" in (tmp_path / "run" / "logs" / "agent-localhost.log").read_text()


@pytest.mark.slow
def test_a_stopped_driver_goes_on(tmp_path: Path) -> None:
    """Ctrl-Z and fg: no node is taken for lost because it was not listened to."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import sys, time
        from pathlib import Path
        import deeprc as rc
        def work(folder: str) -> str:
            Path(folder, "started").touch()
            time.sleep(8)
            return "done"
        with rc.Session(cores=1, run_dir=sys.argv[1] + "/run") as session:
            print(session.submit(work, sys.argv[1]).result(timeout=60))
    """)
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DEEPRC_SILENT_S": "15"}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    ) as driver:
        try:
            assert faults.wait_until((tmp_path / "started").exists, timeout_s=60)
            driver.send_signal(signal.SIGSTOP)
            assert not faults.wait_until(lambda: driver.poll() is not None, timeout_s=6)
            driver.send_signal(signal.SIGCONT)
            assert driver.communicate(timeout=60)[0] == "done\n"
        finally:
            driver.kill()


def noted_square(number: int, diary: str) -> int:
    storm.note(diary, number, 0)
    return number * number


@pytest.mark.slow
def test_agents_killed_amid_tasks_sent_ahead(tmp_path: Path) -> None:
    """All results are right, each task finishes once, and none runs again after that, on whatever node.

    What a lost node had been sent ahead and was not heard to have begun runs elsewhere without a retry being counted,
    and may have begun: so much of a burst, and no more, runs twice.
    """
    count, diary = 3000, tmp_path / "diary"
    with rc.Session(cores=2, nodes=3, run_dir=tmp_path / "run") as session:
        session.submit(noted_square, -1, str(diary)).result(timeout=60)
        futures = [session.submit(noted_square, n, str(diary), retries=3, name=f"t{n}") for n in range(count)]
        agents = [child for child in psutil.Process().children() if faults.is_agent(child, session)]
        for share, agent in zip((count // 4, count // 2), agents[:2], strict=True):
            futures[share].result(timeout=60)
            agent.kill()
        assert [future.result(timeout=60) for future in futures] == [number * number for number in range(count)]
    run = read_run(tmp_path / "run")
    assert len([event for event in run.of_kind("warning") if "is lost" in event["message"]]) == 2
    finished = [event for event in run.of_kind("task.finished") if event["task"].startswith("t")]
    assert len(finished) == count
    starts = storm.starts_in(diary)
    for event in finished:
        assert max(starts[int(event["task"][1:])]) < event["time"]
    assert sum(len(moments) - 1 for moments in starts.values()) < 2 * 2 * 2 * 128


class UnreachedPilot:
    """A site whose nodes are given, but whose agents never reach the driver, as behind a firewall."""

    def host(self, allocation: Allocation) -> str:
        return "127.0.0.1"

    def start(self, allocation: Allocation, run_directory: Path) -> list[Node]:
        return [Node("beyond", cores=1)]

    def remarks(self) -> list[str]:
        return []

    def lost_nodes(self) -> dict[str, str]:
        return {}

    def close(self, timeout_s: float = 10.0) -> None:
        return


def test_an_agent_that_never_comes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the stated time what waits for the node fails, with where to look."""
    monkeypatch.setattr(liveness, "HELLO_S", 2.0)
    with rc.Session(UnreachedPilot(), run_dir=tmp_path / "run") as session:
        future = session.submit(abs, -1)
        with pytest.raises(AgentLostError):
            future.result(timeout=60)
    warnings = [event["message"] for event in read_run(tmp_path / "run").of_kind("warning")]
    assert any("beyond is lost: its agent has not reached the driver within 2 s" in message for message in warnings)


_MANY = """
    import resource, sys
    import deeprc as rc

    def size(comm: rc.Communicator) -> int:
        return comm.size

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, most))
    with rc.Session(cores=20, run_dir=sys.argv[1]) as session:
        print(session.submit(size, ranks=20, comm="mpi").result(timeout=240))
"""


def test_more_ranks_than_the_usual_limit_of_files_holds(tmp_path: Path) -> None:
    """The limit for whom nobody has raised it is 1024; here 40, of which twenty ranks need more."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_MANY))
    command = [sys.executable, str(script), str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.stdout == "20\n", done.stderr
