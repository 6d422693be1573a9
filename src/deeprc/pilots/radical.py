"""Nodes by RADICAL-Pilot: its pilot holds them, and one of its tasks on each is our agent.

So a task of ours is dispatched in our milliseconds, and the end of an agent is noticed at once, by RADICAL-Pilot's
word and by its silence. What RADICAL-Pilot leaves or hangs in is bounded in time and cleaned up.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from deeprc.errors import MissingDependencyError, ResourceError
from deeprc.pilots import radical_agent
from deeprc.pilots.leases import CoreLease
from deeprc.pilots.radical_channel import Channel, ChildProcess, Thread
from deeprc.pilots.radical_session import Request
from deeprc.pilots.radical_translation import (
    DEFAULT_RESOURCE,
    Announcement,
    Seen,
    Site,
    after,
    lost_nodes,
    nodes_for,
    telling_lines,
)
from deeprc.runtime.link.wire import read_connection
from deeprc.runtime.pilot import Allocation, Node

_CLOSE_LIMIT_S = 30.0
_LOOK_EVERY_S = 0.2
_TAIL_BYTES = 4096


class RadicalPilot:
    """Nodes by RADICAL-Pilot; `rc.Session("radical")`, or with options `rc.Session(RadicalPilot(...))`.

    Args:
        resource: RADICAL-Pilot's name of the machine, such as "local.localhost" or "ncsa.delta".
        access_schema, queue, project: as in RADICAL-Pilot's `PilotDescription`; default: what its configuration says.
        runtime_min: minutes after which RADICAL-Pilot ends the pilot. Default: 60; on this machine, 30 days.
        session: a `radical.pilot.Session` that you have; it stays open.
        task_manager: a `radical.pilot.TaskManager` with a pilot of yours that has whole nodes to spare; both stay.
            `nodes` then tells how many of them to use. Without either, RADICAL-Pilot runs in a process of its own.
        host: the address on which the nodes reach this machine. Default: its own, or loopback for `local.*`.
        start_limit_s: seconds for RADICAL-Pilot to start, and for its agents once its job runs.
        queue_limit_s: seconds that the job may wait in a queue. Default: for ever.
    """

    def __init__(
        self,
        resource: str = DEFAULT_RESOURCE,
        *,
        access_schema: str | None = None,
        queue: str | None = None,
        project: str | None = None,
        runtime_min: int | None = None,
        session: Any = None,
        task_manager: Any = None,
        host: str | None = None,
        start_limit_s: float = 180.0,
        queue_limit_s: float | None = None,
    ) -> None:
        if task_manager is not None:
            resource = task_manager.get_pilots()[0].description["resource"]
        self._site = Site(resource, access_schema, queue, project, runtime_min)
        self._given = (session, task_manager)
        self._host = host
        self._start_limit_s = start_limit_s
        self._queue_limit_s = queue_limit_s
        self._channel: Channel | None = None
        self._seen = Seen()
        self._found: list[Announcement] = []
        self._lease: CoreLease | None = None
        self._run = Path()
        self._failed = False

    def host(self, allocation: Allocation) -> str:
        """Loopback for this machine, else the address that this machine's name stands for."""
        if self._host is not None or self._site.is_this_machine:
            return self._host or "127.0.0.1"
        return own_address()

    def start(self, allocation: Allocation, run_directory: Path) -> list[Node]:
        """Wait until every node has been heard of.

        Raises:
            ResourceError: RADICAL-Pilot failed, or took longer than the limits; with what was seen of it.
        """
        if not _is_installed():
            raise MissingDependencyError("RADICAL-Pilot is not installed; pip install 'deeprc[radical]'")
        self._run = run_directory
        nodes = allocation.nodes or 1
        self._directory.mkdir(mode=0o700)
        self._announcements.mkdir()
        request = Request(
            site=self._site,
            nodes=nodes,
            name=f"deeprc-{run_directory.name}-{secrets.token_hex(3)}",
            sandbox=str(self._directory),
            logs=str(run_directory / "logs"),
            agent=(sys.executable, radical_agent.__file__, str(self._directory / "agent.json")),
        )
        try:
            (self._directory / "agent.json").write_text(json.dumps(self._agent_config(allocation, nodes)))
            if self._given == (None, None):
                log = run_directory / "logs" / "radical.log"
                self._channel = ChildProcess(request, self._directory, log)
            else:
                self._channel = Thread(request, *self._given)
            self._wait_for_agents(nodes)
            return nodes_for(allocation, self._found)
        except BaseException:
            self._failed = True
            self.close()
            raise

    @property
    def _directory(self) -> Path:
        return self._run / "radical"

    @property
    def _announcements(self) -> Path:
        return self._directory / "nodes"

    def _agent_config(self, allocation: Allocation, nodes: int) -> dict[str, Any]:
        path = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        cores, held = allocation.cores, None
        if self._site.is_this_machine:
            # A batch system gives its nodes to nobody else; this machine may have other sessions.
            self._lease = CoreLease(None if cores is None else cores * nodes)
            cores = max(self._lease.count // nodes, 1)
            held = [self._lease.share(number, cores) for number in range(nodes)]
        return {
            "run_directory": str(self._run),
            "announcements": str(self._announcements),
            "working_directory": str(Path.cwd()),
            "driver": read_connection(self._run).address,
            "cores": cores,
            "held_cores": held,
            "agents_per_host": nodes if self._site.is_this_machine else 1,
            "environment": {**environment_for_nodes(dict(os.environ)), "PYTHONPATH": path},
        }

    def _wait_for_agents(self, nodes: int) -> None:
        began = time.monotonic()
        waited_in_queue = 0.0
        while True:
            looked = time.monotonic()
            self._hear(_LOOK_EVERY_S)
            self._found = list(announced(self._announcements))
            if len(self._found) == nodes:
                return
            why = self._seen.over or next((found.error for found in self._found if found.error), None)
            if why is None and self._seen.ended:
                why = "; ".join(self._seen.ended.values()) + " before it was ready"
            if why is not None:
                raise ResourceError(self._with_what_was_seen(f"RADICAL-Pilot gives no nodes: {why}"))
            if self._is_in_queue():
                waited_in_queue += time.monotonic() - looked
                if self._queue_limit_s is not None and waited_in_queue > self._queue_limit_s:
                    raise ResourceError(
                        self._with_what_was_seen(f"no nodes within {self._queue_limit_s:g} s in the queue")
                    )
            elif time.monotonic() - began - waited_in_queue > self._start_limit_s:
                raise ResourceError(
                    self._with_what_was_seen(
                        f"RADICAL-Pilot was not ready within {self._start_limit_s:g} s: "
                        f"{len(self._found)} of {nodes} agents are there"
                    )
                )

    def _is_in_queue(self) -> bool:
        """Submitted to a batch system, and its first program has not begun; RADICAL-Pilot itself does not tell."""
        if self._site.is_this_machine or self._seen.state != "PMGR_ACTIVE_PENDING" or self._seen.sandbox is None:
            return False
        return not (Path(self._seen.sandbox) / "bootstrap_0.out").exists()

    def _hear(self, wait_s: float) -> None:
        assert self._channel is not None
        for event in self._channel.events(wait_s):
            self._seen = after(self._seen, event)
        if (how := self._channel.ended()) is not None:
            self._seen = after(self._seen, {"error": how})

    def remarks(self) -> list[str]:
        return [] if self._lease is None else self._lease.remarks()

    def lost_nodes(self) -> dict[str, str]:
        if self._channel is None:
            return {}
        self._hear(0)
        lost = lost_nodes(self._seen, {found.index: found.node for found in self._found})
        self._failed = self._failed or bool(lost)
        return lost

    def close(self, timeout_s: float = 10.0) -> None:
        """Give the nodes back; at most `timeout_s` for the agents and 30 s for RADICAL-Pilot, then all is killed.

        Its sandbox goes. After a failure, what it wrote of it is kept in the run's `logs/radical`.
        """
        try:
            self._end(timeout_s)
        finally:
            if self._lease is not None:
                self._lease.release()

    def _end(self, timeout_s: float) -> None:
        if self._channel is None:
            return
        ended = time.monotonic() + timeout_s
        while self._seen.over is None and len(self._seen.ended) < len(self._found) and time.monotonic() < ended:
            self._hear(_LOOK_EVERY_S)
        in_time = self._channel.close(_CLOSE_LIMIT_S)
        self._channel = None
        self._end_agents()
        if not in_time and not self._site.is_this_machine:
            warnings.warn(
                f"RADICAL-Pilot did not end in good order; its job on {self._site.resource} may still be there: look "
                f"for one named deeprc-{self._run.name}-*",
                stacklevel=2,
            )
        if self._failed:
            self._keep_logs()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _end_agents(self) -> None:
        """Those on this machine which have outlived their tasks."""
        for found in self._found:
            if found.host != socket.gethostname() or not psutil.pid_exists(found.pid):
                continue
            try:
                agent = psutil.Process(found.pid)
                if str(self._run) in agent.cmdline():
                    agent.terminate()
                    psutil.wait_procs([agent], timeout=5)
                    agent.kill()
            except psutil.Error:
                continue

    def _with_what_was_seen(self, what: str) -> str:
        """The error, with RADICAL-Pilot's last state, its own last lines, and where they are kept."""
        lines = telling_lines(self._texts())
        seen = f"its last state was {self._seen.state}" + (f" ({self._seen.pilot})" if self._seen.pilot else "")
        kept = self._run / "logs"
        return "\n  ".join([f"{what}; {seen}; its logs are in {kept}", *lines])

    def _logs(self) -> list[Path]:
        """RADICAL-Pilot's own texts, oldest first."""
        written = [path for end in ("err", "out", "log") for path in self._directory.rglob(f"*.{end}")]
        return sorted(written, key=lambda path: path.stat().st_mtime)

    def _texts(self) -> dict[str, str]:
        paths = [path for path in self._logs() if path.suffix != ".out"] + sorted((self._run / "logs").glob("*.log"))
        return {path.name: _tail(path) for path in paths if path.stat().st_size}

    def _keep_logs(self) -> None:
        kept = self._run / "logs" / "radical"
        for path in self._logs():
            if path.stat().st_size:
                target = kept / path.relative_to(self._directory)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


def announced(directory: Path) -> Iterator[Announcement]:
    """What the agents have said of their nodes so far."""
    for path in directory.glob("*.json"):
        yield Announcement(**json.loads(path.read_text()))


def environment_for_nodes(environment: dict[str, str]) -> dict[str, str]:
    """The user's environment without what belongs to this machine, this terminal or this job."""
    here = ("SLURM_", "PBS_", "LSB_", "PMI_", "PMIX_", "XDG_", "SSH_", "RP_", "RADICAL_", "CUDA_VISIBLE_")
    own = {"TMPDIR", "HOSTNAME", "DISPLAY", "TERM", "PWD", "OLDPWD", "SHLVL", "_"}
    return {name: value for name, value in environment.items() if name not in own and not name.startswith(here)}


def own_address() -> str:
    """An address of this machine that others may know: its name's, unless that is loopback, else the way out's."""
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        address = "127.0.0.1"
    if not address.startswith("127."):
        return address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: this asks the routing table from where a datagram would go.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def _is_installed() -> bool:
    try:
        return bool(version("radical.pilot"))
    except PackageNotFoundError:
        return False


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")
