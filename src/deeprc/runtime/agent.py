"""The agent of a node: owns its ranks, serves the driver, and takes everything down when the driver is gone.

`python -m deeprc.runtime.agent RUN_DIRECTORY NODE CORES` with the driver's lifeline as standard input, where
the pilot can give one: its end of file means that the driver has died.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from deeprc.runtime.gang import Gang
from deeprc.runtime.loop import Loop
from deeprc.runtime.messages import (
    Assignment,
    CancelTask,
    GangFailed,
    GangFinished,
    GangStarted,
    Heartbeat,
    Hello,
    JournalEvent,
    Prepare,
    RankPlace,
    RankRaised,
    RankReturned,
    RunGang,
    Shutdown,
)
from deeprc.runtime.plain_world import mpiexec
from deeprc.runtime.rank_pool import RankPool
from deeprc.runtime.rank_process import RankProcess
from deeprc.runtime.rank_watch import LOOK_S, RankWatch
from deeprc.runtime.wire import AgentSocket, read_connection

HEARTBEAT_S = 1.0
DRIVER_SILENT_S = 60.0
# After a rank's exception, how long to wait whether a peer's death was the cause.
_BLAME_GRACE_S = 0.1
# Between a closed channel and the exit status that explains it.
_EXIT_GRACE_S = 0.5
_MEMORY_GROWTH_BYTES = 1 << 30


class Agent:
    """One node's ranks and the gangs they form."""

    def __init__(self, run_directory: Path, node: str, cores: int) -> None:
        self._loop = Loop()
        self._node = node
        self._cores = cores
        self._run_directory = run_directory
        self._wire = AgentSocket(zmq.Context.instance(), node, read_connection(run_directory))
        self._pool = RankPool(
            self._loop,
            run_directory,
            record=self._record,
            on_readable=self._hear_rank,
            on_exit=self._rank_ended,
            on_pid=self._rank_started,
        )
        self._watch = RankWatch(run_directory, self._memory_exceeded, self._record)
        self._gangs: dict[tuple[str, int], Gang] = {}
        self._gang_of: dict[int, Gang] = {}
        self._heard_driver = time.monotonic()

    def run(self) -> None:
        """Serve until the driver says so or dies."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._loop.stop())
        self._watch_lifeline()
        self._loop.watch(self._wire.socket, self._hear_driver)
        self._loop.every(HEARTBEAT_S, self._beat)
        self._loop.after_turn(self._wire.flush)
        self._loop.every(LOOK_S, lambda: self._watch.look(list(self._gangs.values())))
        self._wire.send(Hello(self._node, os.getpid()))
        try:
            self._loop.run()
        finally:
            self._pool.close()
            self._wire.flush()
            _remove_unfinished(self._run_directory)

    def _watch_lifeline(self) -> None:
        if not os.isatty(0):
            self._loop.watch(0, lambda: None if os.read(0, 1) else self._loop.stop())

    def _beat(self) -> None:
        self._wire.send(Heartbeat())
        if time.monotonic() - self._heard_driver > DRIVER_SILENT_S:
            self._loop.stop()

    def _record(self, kind: str, **fields: Any) -> None:
        self._wire.send(JournalEvent(kind, {"node": self._node, **fields}))

    def _hear_driver(self) -> None:
        for message in self._wire.receive():
            self._heard_driver = time.monotonic()
            match message:
                case RunGang():
                    self._start_gang(message)
                case Prepare():
                    self._pool.prepare(message.profile, message.modules)
                case CancelTask():
                    self._cancel(message.task)
                case Shutdown():
                    self._loop.stop()

    def _start_gang(self, order: RunGang) -> None:
        mpi = order.backend == "mpi"
        ranks = self._pool.acquire(order.profile, order.modules, order.size, mpi=mpi, fresh=order.isolated)
        gang = Gang(order, ranks, self._node)
        self._gangs[order.key] = gang
        for index, process in enumerate(ranks):
            self._gang_of[process.identifier] = gang
            process.begin_task()
            self._assign(gang, index, process)
        self._announce_if_complete(gang)

    def _assign(self, gang: Gang, index: int, process: RankProcess) -> None:
        order = gang.order
        assignment = Assignment(
            task=order.task,
            attempt=order.attempt,
            rank=index,
            size=order.size,
            backend=order.backend,
            threads=order.profile.threads,
            gpus=order.gpus[index],
            call=order.call,
            inputs=order.inputs,
        )
        try:
            process.channel.send(assignment)
        except OSError:
            self._loop.later(0, partial(self._rank_ended, process))

    def _rank_started(self, process: RankProcess) -> None:
        if gang := self._gang_of.get(process.identifier):
            self._announce_if_complete(gang)

    def _announce_if_complete(self, gang: Gang) -> None:
        """Tell the driver that all ranks run, and start the clock."""
        if gang.started is not None or not gang.has_all_pids:
            return
        gang.started = time.monotonic()
        order = gang.order
        places = tuple(
            RankPlace(index, self._node, order.slots[index], rank.pid or 0) for index, rank in enumerate(gang.ranks)
        )
        self._wire.send(GangStarted(order.task, order.attempt, places))
        if order.timeout_s is not None:
            self._loop.later(order.timeout_s, partial(self._time_is_up, gang))

    def _hear_rank(self, process: RankProcess) -> None:
        if not self._receive_from(process):
            # The exit status comes from the zygote, a moment later.
            self._loop.unwatch(process.channel.fileno())
            self._loop.later(_EXIT_GRACE_S, partial(self._rank_ended, process))

    def _receive_from(self, process: RankProcess) -> bool:
        """Take one message of a rank; False if it has hung up."""
        try:
            message = process.channel.recv()
        except (EOFError, OSError):
            return False
        gang = self._gang_of.get(process.identifier)
        match message:
            case JournalEvent():
                self._record(message.kind, **message.fields)
            case RankReturned() if gang:
                self._rank_returned(gang, process, message)
            case RankRaised(error="MpiWorldError") if gang and not self._pool.plain_mpi and mpiexec():
                self._start_plainly(gang)
            case RankRaised() if gang:
                gang.raised(process, message)
                self._loop.later(_BLAME_GRACE_S, partial(self._fail, gang))
        return True

    def _start_plainly(self, gang: Gang) -> None:
        """Begin again by the MPI library's own launcher: the library does not take our word for its world."""
        self._pool.plain_mpi = True
        self._record("warning", message="MPI ranks are started by mpiexec, seconds each: the MPI library needs it")
        self._dissolve(gang)
        self._pool.retire(gang.ranks, reason="the MPI library needs its own launcher")
        self._start_gang(gang.order)

    def _rank_returned(self, gang: Gang, process: RankProcess, message: RankReturned) -> None:
        gang.returned(process, message.result)
        process.peak_bytes = max(process.peak_bytes, message.held_bytes)
        process.held_at_first = process.held_at_first or message.held_bytes
        if message.left_children:
            process.unfit = "its task left processes behind"
        elif message.held_bytes > process.held_at_first + _MEMORY_GROWTH_BYTES:
            process.unfit = "its memory had grown by more than 1 GiB"
        if gang.finished and gang.failure is None:
            self._finish(gang)

    def _finish(self, gang: Gang) -> None:
        order = gang.order
        self._dissolve(gang)
        mpi = order.backend == "mpi"
        if order.isolated:
            self._pool.retire(gang.ranks, reason="isolated")
        elif reason := next((rank.unfit for rank in gang.ranks if rank.unfit), None):
            self._pool.retire(gang.ranks, reason=reason)
        else:
            self._pool.release(gang.ranks, mpi=mpi)
            self._pool.trim(keep=2 * self._cores)
        self._wire.send(
            GangFinished(order.task, order.attempt, gang.seconds, gang.packed_results(), gang.peak_memory_bytes)
        )

    def _rank_ended(self, process: RankProcess) -> None:
        gang = self._gang_of.get(process.identifier)
        if gang is None:
            self._pool.retire([process], reason="it ended while idle")
            return
        self._drain(process)
        if process.identifier in self._gang_of:
            gang.died(process, self._watch.last_words_for(process))
            self._fail(gang)

    def _drain(self, process: RankProcess) -> None:
        """Hear what a rank said before it ended: its result may be among it."""
        while not process.channel.closed and process.channel.poll() and self._receive_from(process):
            continue

    def _memory_exceeded(self, gang: Gang, process: RankProcess) -> None:
        gang.exceeded_memory(process)
        self._fail(gang)

    def _time_is_up(self, gang: Gang) -> None:
        if self._gangs.get(gang.order.key) is gang and not gang.finished:
            gang.timed_out()
            self._fail(gang)

    def _fail(self, gang: Gang) -> None:
        """End the gang's ranks, and no other, and tell the driver why."""
        order = gang.order
        if self._gangs.get(order.key) is not gang or gang.failure is None:
            return
        self._dissolve(gang)
        self._pool.retire(gang.ranks, reason="its task failed")
        self._wire.send(GangFailed(order.task, order.attempt, gang.seconds, gang.failure))

    def _cancel(self, task: str) -> None:
        for gang in [gang for gang in self._gangs.values() if gang.order.task == task]:
            self._dissolve(gang)
            self._pool.retire(gang.ranks, reason="its task was cancelled")

    def _dissolve(self, gang: Gang) -> None:
        del self._gangs[gang.order.key]
        for rank in gang.ranks:
            self._gang_of.pop(rank.identifier, None)


def _remove_unfinished(run_directory: Path) -> None:
    """Remove what ranks were writing when they were ended; finished files have been renamed."""
    for pattern in ("datasets/**/*.tmp", "results/*.tmp", "artifacts/.*.tmp", "rendezvous/*"):
        for path in run_directory.glob(pattern):
            path.unlink(missing_ok=True)


def main() -> None:
    Agent(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])).run()


if __name__ == "__main__":
    main()
