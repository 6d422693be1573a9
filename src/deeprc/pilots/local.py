"""The machine this session runs on, as an allocation of one node."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from deeprc.errors import ResourceError
from deeprc.runtime.pilot import Allocation
from deeprc.runtime.rank_process import describe_exit
from deeprc.runtime.scheduler import Node

_NODE = "localhost"


class LocalPilot:
    """One agent, a child of this process; it ends when its standard input does, so also when we are killed."""

    def __init__(self) -> None:
        self._agent: subprocess.Popen[bytes] | None = None

    def host(self, allocation: Allocation) -> str:
        return "127.0.0.1"

    def start(self, allocation: Allocation, run_directory: Path) -> list[Node]:
        node = local_node(allocation)
        with (run_directory / "logs" / "agent.log").open("ab") as log:
            self._agent = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "deeprc.runtime.agent",
                    str(run_directory),
                    node.name,
                    str(node.cores),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
                },
                # A Ctrl-C is for the session, which then ends the agent in good order.
                start_new_session=True,
            )
        return [node]

    def lost_nodes(self) -> dict[str, str]:
        if self._agent is None or self._agent.poll() is None:
            return {}
        return {_NODE: f"its agent {describe_exit(self._agent.returncode)[1]}"}

    def close(self, timeout_s: float = 10.0) -> None:
        if self._agent is None:
            return
        assert self._agent.stdin is not None
        self._agent.stdin.close()
        try:
            self._agent.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._agent.send_signal(signal.SIGKILL)
            self._agent.wait()
        self._agent = None


def local_node(allocation: Allocation) -> Node:
    """This machine as a node; `cores` may be more than it has, which lets ranks share cores.

    Raises:
        ResourceError: more nodes, GPUs or memory than there are.
    """
    if allocation.nodes not in (None, 1):
        raise ResourceError(
            f"the local pilot has one node, not {allocation.nodes}; use nodes=1, or a pilot that spans nodes"
        )
    gpus = visible_gpus()
    if (allocation.gpus or 0) > gpus:
        raise ResourceError(f"this machine has {gpus} GPUs, not {allocation.gpus}; use gpus={gpus} or less")
    memory = psutil.virtual_memory().total
    if (allocation.memory_bytes or 0) > memory:
        raise ResourceError(f"this machine has {memory} bytes of memory, not {allocation.memory_bytes}")
    return Node(
        _NODE,
        cores=allocation.cores or len(os.sched_getaffinity(0)),
        gpus=gpus if allocation.gpus is None else allocation.gpus,
        memory_bytes=allocation.memory_bytes or memory,
    )


def visible_gpus() -> int:
    """GPUs that NVIDIA's own tool lists: no need to import torch for it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=10, check=False)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
