"""Agents that stop: for a moment, which is nothing, or for too long, which is the loss of their node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import deeprc as rc
from deeprc.errors import AgentLostError
from deeprc.journal import read_run
from deeprc.runtime import liveness
from deeprc.runtime.pilot import Allocation
from deeprc.runtime.scheduler import Node
from tests.runtime import faults

_SCRIPT = """
    import os, signal, sys, time
    from pathlib import Path
    import psutil
    import deeprc as rc
    from tests.runtime import faults

    def work(folder: str) -> int:
        # Who runs, and until when: a line for each start, and a file touched while it goes on.
        with open(folder + "/starts", "a") as file:
            file.write(f"{os.getpid()}\\n")
        for _ in range(100):
            time.sleep(0.05)
        return os.getpid()

    folder, stopped_s = sys.argv[1], float(sys.argv[2])
    with rc.Session(cores=1, nodes=2, run_dir=folder + "/run") as session:
        future = session.submit(work, folder, retries=2)
        assert faults.wait_until((Path(folder) / "starts").exists)
        rank = psutil.Process(int((Path(folder) / "starts").read_text()))
        agent = rank.parent().parent()
        agent.suspend()
        time.sleep(stopped_s)
        agent.resume()
        print(future.result(timeout=60))
        print(faults.wait_until(lambda: not agent.is_running(), timeout_s=10 if stopped_s > 3 else 0.1))
        print(faults.wait_until(lambda: not rank.is_running(), timeout_s=10 if stopped_s > 3 else 0.1))
"""


@pytest.mark.parametrize("stopped_s", [1.0, 6.0])
def test_a_stopped_agent(tmp_path: Path, stopped_s: float) -> None:
    """Shorter than the limit of silence: nothing happens. Longer: its node is lost, its task runs on the other, and
    once it goes on it finds itself given up and ends with all its ranks."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_SCRIPT))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DEEPRC_SILENT_S": "3"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(stopped_s)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result, agent_ended, rank_ended = done.stdout.split()
    starts = (tmp_path / "starts").read_text().split()
    lost = stopped_s > 3
    assert [agent_ended, rank_ended] == [str(lost)] * 2
    assert len(starts) == (2 if lost else 1)
    assert result == starts[-1]
    run = read_run(tmp_path / "run")
    assert len(list(run.of_kind("task.finished"))) == 1
    messages = [event["message"] for event in run.of_kind("warning")]
    assert any("is lost: its agent has been silent" in message for message in messages) == lost


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
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DEEPRC_SILENT_S": "3"}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    ) as driver:
        try:
            assert faults.wait_until((tmp_path / "started").exists, timeout_s=60)
            driver.send_signal(signal.SIGSTOP)
            assert not faults.wait_until(lambda: driver.poll() is not None, timeout_s=4.5)
            driver.send_signal(signal.SIGCONT)
            assert driver.communicate(timeout=60)[0] == "done\n"
        finally:
            driver.kill()


class UnreachedPilot:
    """A site whose nodes are given, but whose agents never reach the driver, as behind a firewall."""

    def host(self, allocation: Allocation) -> str:
        return "127.0.0.1"

    def start(self, allocation: Allocation, run_directory: Path) -> list[Node]:
        return [Node("beyond", cores=1)]

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
            future.result(timeout=30)
    warnings = [event["message"] for event in read_run(tmp_path / "run").of_kind("warning")]
    assert any("beyond is lost: its agent has not reached the driver within 2 s" in message for message in warnings)
