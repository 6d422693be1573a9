"""What runs inside Ray on each node: an actor whose child is our agent. Sent there as it is: standard library only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


class AgentActor:
    """Keeps one agent; the agent ends when its standard input does, so also when this actor is killed."""

    def __init__(self, run_directory: str) -> None:
        self._run_directory = Path(run_directory)
        self._agent: subprocess.Popen[bytes] | None = None

    def where(self) -> str:
        """This node's host name."""
        return socket.gethostname()

    def start(self, name: str, cores: int, path: str, held: tuple[int, ...] | None = None) -> None:
        """Start the agent, which finds its modules on `path` (PYTHONPATH) and pins ranks to the cores `held`.

        Raises:
            FileNotFoundError: this node does not see the run directory.
        """
        if not self._run_directory.is_dir():
            raise FileNotFoundError(
                f"node {name} does not see {self._run_directory}; choose a run_dir on a file system that all nodes see"
            )
        with (self._run_directory / "logs" / f"agent-{name}.log").open("ab") as log:
            self._agent = subprocess.Popen(
                [sys.executable, "-m", "deeprc.runtime.agent", str(self._run_directory), name, str(cores)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(path, held),
                start_new_session=True,
            )

    def wait(self) -> int:
        """The agent's exit code, once it has ended."""
        assert self._agent is not None
        return self._agent.wait()

    def stop(self) -> None:
        """End the agent in good order."""
        if self._agent is None or self._agent.stdin is None:
            return
        self._agent.stdin.close()
        self._agent.wait()


def _environment(path: str, held: tuple[int, ...] | None) -> dict[str, str]:
    """This process's, without what Ray sets for its own workers: ranks decide their threads themselves."""
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    # As in deeprc.runtime.process.devices, which need not be there.
    pinned = {} if held is None else {"DEEPRC_CORES": ",".join(map(str, held))}
    return inherited | {"PYTHONPATH": path} | pinned
