"""The agent of a node: owns its ranks, serves the driver, and takes everything down when the driver is gone.

`python -m deeprc.runtime.agent RUN_DIRECTORY NODE CORES` with the driver's lifeline as standard input, where
the pilot can give one: its end of file means that the driver has died.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from threading import Thread
from typing import Any

from deeprc.runtime.agent.agent_socket import AgentSocket
from deeprc.runtime.agent.gangs import Gangs
from deeprc.runtime.agent.launcher import asked_for, launcher_spans_nodes
from deeprc.runtime.agent.network import address_towards
from deeprc.runtime.agent.rank_watch import LOOK_S
from deeprc.runtime.link.lease import HEARTBEAT_S, Lease, now
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.messages import (
    CancelTask,
    EndGang,
    GangRuns,
    GangShares,
    Heartbeat,
    Hello,
    PartReturned,
    Prepare,
    Recall,
    ReleaseGang,
    RunGang,
    Shutdown,
    StopSoon,
    WorldEnds,
    WorldValues,
)
from deeprc.runtime.link.wire import read_connection
from deeprc.workspace import remove_abandoned_spilled, scratch_of

# While tasks wait here for cores, what happens within this time is told in one message; so is the beginning of a task
# together with its end, if that comes as soon.
_TOGETHER_S = 0.001


class Agent:
    """A node's end of the run: hears the driver for the gangs at work here, and leaves when there is none to hear."""

    def __init__(self, run_directory: Path, node: str, cores: int) -> None:
        self._loop = Loop()
        self._node = node
        self._run_directory = run_directory
        connection = read_connection(run_directory)
        self._address = address_towards(connection.address)
        self._wire = AgentSocket(self._loop, run_directory, node, connection, self._hear_driver, self._end_run)
        self._lease = Lease()
        self._gangs = Gangs(
            self._loop, self._lease.file, run_directory, node, cores, self._address, tell=self._wire.send
        )
        self._run_has_ended = False
        self._flush_is_due = False

    def run(self) -> None:
        """Serve until the driver says so or dies."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._loop.stop())
        self._watch_lifeline()
        self._loop.before_turn(self._check_lease)
        self._loop.every(HEARTBEAT_S, self._beat)
        self._loop.after_turn(self._flush)
        self._loop.every(LOOK_S, self._gangs.look)
        # Beside the loop: there may be much.
        Thread(target=remove_abandoned_spilled, args=(self._run_directory,), daemon=True).start()
        plain_mpi = asked_for() and launcher_spans_nodes()
        self._wire.send(Hello(self._node, os.getpid(), self._address, plain_mpi))
        try:
            self._loop.run()
        finally:
            self._gangs.pool.close()
            self._wire.flush()
            if self._run_has_ended:
                _remove_unfinished(self._run_directory)

    def _flush(self) -> None:
        """Tell the driver what has happened: at once, unless it is only a beginning or ranks have enough to do."""
        if self._wire.is_urgent and not self._gangs.tasks_wait:
            self._wire.flush()
        elif self._wire.is_waiting and not self._flush_is_due:
            self._flush_is_due = True
            self._loop.later(_TOGETHER_S, self._flush_now)

    def _flush_now(self) -> None:
        self._flush_is_due = False
        self._wire.flush()

    def _end_run(self) -> None:
        """Leave because the run is over; when only this agent is ended, ranks of other nodes still write."""
        self._run_has_ended = True
        self._loop.stop()

    def _watch_lifeline(self) -> None:
        if not os.isatty(0):
            self._loop.watch(0, lambda: None if os.read(0, 1) else self._end_run())

    def _beat(self) -> None:
        self._wire.send(Heartbeat(now()))

    def _check_lease(self) -> None:
        """Leave, before anything else is done, if the driver may have given this node up and run its tasks elsewhere.

        What others write is left alone: the run may well go on without this node.
        """
        if self._lease.is_over:
            print("nothing was heard of the driver for too long: ending all ranks", file=sys.stderr, flush=True)
            self._loop.stop()

    def _hear_driver(self, messages: list[Any]) -> None:
        for message in messages:
            match message:
                case Heartbeat():
                    self._lease.renew(message.sent_s)
                case RunGang():
                    self._gangs.take(message)
                case Recall():
                    self._gangs.recall()
                case Prepare():
                    self._gangs.pool.prepare(message.profile, message.modules)
                case CancelTask():
                    self._gangs.cancel(message.task)
                case GangRuns() | GangShares() | PartReturned() | ReleaseGang():
                    self._gangs.hear(message)
                case EndGang():
                    self._gangs.end(message)
                case StopSoon():
                    self._gangs.stop_soon()
                case WorldValues() | WorldEnds():
                    self._hear_of_world(message)
                case Shutdown():
                    self._end_run()

    def _hear_of_world(self, message: WorldValues | WorldEnds) -> None:
        if isinstance(message, WorldValues):
            self._gangs.pool.complete_fence(message.world, message.values)
        else:
            self._gangs.pool.end_world(message.world)


def _remove_unfinished(run_directory: Path) -> None:
    """Remove what ranks were writing when they were ended; finished files have been renamed."""
    for pattern in ("datasets/**/*.tmp", "results/*.tmp", "artifacts/.*.tmp"):
        for path in run_directory.glob(pattern):
            path.unlink(missing_ok=True)
    shutil.rmtree(scratch_of(run_directory), ignore_errors=True)


def _lift_limit_of_files() -> None:
    """Each rank takes several of an agent's descriptors; of 1024, the usual limit, a large node's need more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    _lift_limit_of_files()
    Agent(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])).run()
