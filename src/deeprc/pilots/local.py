"""The machine this session runs on, as an allocation of one node, or of several pretend ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from deeprc.errors import ResourceError
from deeprc.runtime.pilot import Allocation
from deeprc.runtime.rank_process import describe_exit
from deeprc.runtime.scheduler import Node


class LocalPilot:
    """One agent for each node, children of this process; they end when their standard input does.

    Asked for several nodes, it pretends: each has an agent and cores of its own, and what crosses from one to
    another goes over the loopback network, as it would between hosts.
    """

    def __init__(self) -> None:
        self._agents: dict[str, subprocess.Popen[bytes]] = {}

    def host(self, allocation: Allocation) -> str:
        return "127.0.0.1"

    def start(self, allocation: Allocation, run_directory: Path) -> list[Node]:
        nodes = local_nodes(allocation)
        for node in nodes:
            self._agents[node.name] = start_agent(node, run_directory)
        return nodes

    def lost_nodes(self) -> dict[str, str]:
        return {
            node: f"its agent {describe_exit(agent.returncode)[1]}"
            for node, agent in self._agents.items()
            if agent.poll() is not None
        }

    def close(self, timeout_s: float = 10.0) -> None:
        for agent in self._agents.values():
            assert agent.stdin is not None
            agent.stdin.close()
        deadline = time.monotonic() + timeout_s
        for agent in self._agents.values():
            try:
                agent.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()
        self._agents.clear()


def start_agent(node: Node, run_directory: Path, launcher: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start a node's agent as a child, by way of `launcher` if the node has to be entered first.

    It ends when its standard input does, so also when this process is killed.
    """
    agent = [sys.executable, "-m", "deeprc.runtime.agent", str(run_directory), node.name, str(node.cores)]
    with (run_directory / "logs" / f"agent-{node.name}.log").open("ab") as log:
        return subprocess.Popen(
            [*launcher, *agent],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            # A Ctrl-C is for the session, which then ends the agent in good order.
            start_new_session=True,
        )


def local_nodes(allocation: Allocation) -> list[Node]:
    """This machine as nodes; `cores` of each may be more than it has, which lets ranks share cores.

    Raises:
        ResourceError: more GPUs or memory than there are, or GPUs on several pretend nodes.
    """
    count = 1 if allocation.nodes is None else allocation.nodes
    if count < 1:
        raise ResourceError(f"a session has at least one node, not {count}")
    gpus = visible_gpus() // count
    if (allocation.gpus or 0) > gpus:
        raise ResourceError(f"a node of this session has {gpus} GPUs, not {allocation.gpus}; use gpus={gpus} or less")
    memory = psutil.virtual_memory().total // count
    if (allocation.memory_bytes or 0) > memory:
        raise ResourceError(f"a node of this session has {memory} bytes of memory, not {allocation.memory_bytes}")
    cores = allocation.cores or max(len(os.sched_getaffinity(0)) // count, 1)
    names = ["localhost", *(f"localhost-{number}" for number in range(2, count + 1))]
    node_gpus = gpus if allocation.gpus is None else allocation.gpus
    return [Node(name, cores, node_gpus, allocation.memory_bytes or memory) for name in names]


def visible_gpus() -> int:
    """GPUs that NVIDIA's own tool lists: no need to import torch for it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=10, check=False)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
