"""A session on two hosts, run inside the network namespace of the first: `two_hosts.py RUN_DIRECTORY OTHER_NAMESPACE`.

Prints a line of JSON for each thing it has seen; test_two_hosts.py reads them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import deeprc as rc
from deeprc.errors import AgentLostError
from deeprc.pilots.local import start_agent
from deeprc.runtime.link.lease import SILENT_S
from deeprc.runtime.pilot import Allocation, Node

FIRST, SECOND = "10.99.0.1", "10.99.0.2"


class TwoHosts:
    """An agent here and one in the other namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self.ended_by_itself = False

    def host(self, allocation: Allocation) -> str:
        return FIRST

    def start(self, allocation: Allocation, run_directory: Path) -> list[Node]:
        nodes = [Node("first", 2), Node("second", 2)]
        self._agents["first"] = start_agent(nodes[0], run_directory)
        self._agents["second"] = start_agent(nodes[1], run_directory, ["ip", "netns", "exec", self._namespace])
        return nodes

    def remarks(self) -> list[str]:
        return []

    def lost_nodes(self) -> dict[str, str]:
        """Of a host that is cut off nobody can tell: only its silence counts here."""
        return {}

    def close(self, timeout_s: float = 10.0) -> None:
        try:
            # Without a pipe to its input the agent of a host that is cut off has to notice the silence.
            self._agents["second"].wait(4 * SILENT_S)
            self.ended_by_itself = True
        except subprocess.TimeoutExpired:
            pass
        for agent in self._agents.values():
            assert agent.stdin is not None
            agent.stdin.close()
            agent.wait(timeout_s)


def exchange(comm: rc.Communicator, megabytes: int) -> dict[str, Any]:
    """All to all, and where this rank's sockets are."""
    incoming = comm.all_to_all([np.full(megabytes << 20, comm.rank, np.uint8).data for _ in range(comm.size)])
    right = all(np.asarray(view).min() == np.asarray(view).max() == rank for rank, view in enumerate(incoming))
    connections = psutil.Process().net_connections("inet")
    listening = [item.laddr.ip for item in connections if item.status == psutil.CONN_LISTEN]
    gathered = comm.all_gather((right, listening))
    return {"right": [right for right, _ in gathered], "listening": [ip for _, ips in gathered for ip in ips]}


def wait_for_ever(comm: rc.Communicator, mark: str) -> None:
    if comm.rank == 0:
        Path(mark).touch()
        time.sleep(600)
    comm.barrier()


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


def sent_bytes() -> int:
    return sum(counters.bytes_sent for name, counters in psutil.net_io_counters(pernic=True).items() if name != "lo")


def main() -> None:
    run_directory, namespace = sys.argv[1:]
    pilot = TwoHosts(namespace)
    with rc.Session(pilot, run_dir=run_directory) as session:
        for comm in ("mpi", "gloo"):
            before = sent_bytes()
            seen = session.submit(exchange, 2, ranks=3, comm=comm).result(timeout=120)  # type: ignore[arg-type]
            say(comm=comm, crossed=sent_bytes() - before, **seen)
        stuck = session.submit(wait_for_ever, str(Path(run_directory) / "stuck"), ranks=3, comm="gloo")
        try:
            stuck.result(timeout=120)
        except AgentLostError as error:
            say(lost=str(error), at=time.time())
        say(rest=session.submit(abs, -3).result(timeout=60))
    say(ended_by_itself=pilot.ended_by_itself)


if __name__ == "__main__":
    main()
