"""The machine this session runs on, as an allocation of one node, or of several pretend ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from deeprc.errors import ResourceError
from deeprc.pilots.leases import CoreLease
from deeprc.runtime.pilot import Allocation, Node
from deeprc.runtime.process.devices import CORES_VARIABLE
from deeprc.runtime.process.exits import how_it_ended


class LocalPilot:
    """One agent for each node, children of this process; they end when their standard input does.

    Asked for several nodes, it pretends: each has an agent and cores of its own, and what crosses from one to
    another goes over the loopback network, as it would between hosts.
    """

    def __init__(self) -> None:
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self._lease: CoreLease | None = None

    def host(self, allocation: Allocation) -> str:
        return "127.0.0.1"

    def start(self, allocation: Allocation, run_directory: Path) -> list[Node]:
        count = 1 if allocation.nodes is None else allocation.nodes
        if count < 1:
            raise ResourceError(f"a session has at least one node, not {count}")
        wanted = None if allocation.cores is None else allocation.cores * count
        self._lease = CoreLease(wanted)
        try:
            gpus = visible_gpus()
            nodes = local_nodes(allocation, self._lease.count, len(gpus))
            for number, node in enumerate(nodes):
                cores = self._lease.share(number, node.cores)
                given = gpus[number * len(gpus) // count :][: node.gpus]
                environment = {CORES_VARIABLE: ",".join(map(str, cores)), "CUDA_VISIBLE_DEVICES": ",".join(given)}
                self._agents[node.name] = start_agent(node, run_directory, environment=environment)
        except BaseException:
            self.close()
            raise
        return nodes

    def remarks(self) -> list[str]:
        return [] if self._lease is None else self._lease.remarks()

    def lost_nodes(self) -> dict[str, str]:
        return {
            node: f"its agent {how_it_ended(agent.returncode)}"
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
        if self._lease is not None:
            self._lease.release()


def start_agent(
    node: Node, run_directory: Path, launcher: Sequence[str] = (), *, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a node's agent as a child, by way of `launcher` if the node has to be entered first.

    It ends when its standard input does, so also when this process is killed.
    """
    path = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    agent = [sys.executable, "-m", "deeprc.runtime.agent", str(run_directory), node.name, str(node.cores)]
    with (run_directory / "logs" / f"agent-{node.name}.log").open("ab") as log:
        return subprocess.Popen(
            [*launcher, *agent],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
            # A Ctrl-C is for the session, which then ends the agent in good order.
            start_new_session=True,
        )


def local_nodes(allocation: Allocation, cores: int, gpus: int) -> list[Node]:
    """This machine as nodes with so many cores and GPUs in all.

    Raises:
        ResourceError: more GPUs or memory than there are.
    """
    count = 1 if allocation.nodes is None else allocation.nodes
    gpus //= count
    if (allocation.gpus or 0) > gpus:
        raise ResourceError(f"a node of this session has {gpus} GPUs, not {allocation.gpus}; use gpus={gpus} or less")
    memory = psutil.virtual_memory().total // count
    if (allocation.memory_bytes or 0) > memory:
        raise ResourceError(f"a node of this session has {memory} bytes of memory, not {allocation.memory_bytes}")
    names = ["localhost", *(f"localhost-{number}" for number in range(2, count + 1))]
    node_gpus = gpus if allocation.gpus is None else allocation.gpus
    return [Node(name, max(cores // count, 1), node_gpus, allocation.memory_bytes or memory) for name in names]


def visible_gpus() -> list[str]:
    """What CUDA calls the GPUs that this process may use: NVIDIA's own tool lists them, no need to import torch.

    `DEEPRC_PRETEND_GPUS=N` pretends that there are N, to try placement where there are none.
    """
    if pretended := os.environ.get("DEEPRC_PRETEND_GPUS"):
        return [str(number) for number in range(int(pretended))]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    if (told := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in told.split(",") if name.strip()]
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=10, check=False)
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in listing.stdout.splitlines()))]
