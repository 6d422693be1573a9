"""The agent of a node: owns its ranks, serves the driver, and takes everything down when the driver is gone.

`python -m deeprc.runtime.agent RUN_DIRECTORY NODE CORES` with the driver's lifeline as standard input, where
the pilot can give one: its end of file means that the driver has died.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from deeprc.bridge import scratch_of
from deeprc.runtime.agent_socket import AgentSocket
from deeprc.runtime.devices import real_cores, real_gpus
from deeprc.runtime.enquiry import Enquiry
from deeprc.runtime.gang import Gang
from deeprc.runtime.lease import Lease, now
from deeprc.runtime.liveness import HEARTBEAT_S
from deeprc.runtime.loop import Loop
from deeprc.runtime.messages import (
    Assignment,
    CancelTask,
    EndGang,
    GangEnded,
    GangFailed,
    GangFinished,
    GangRuns,
    GangShares,
    GangStarted,
    Heartbeat,
    Hello,
    JournalEvent,
    PartReturned,
    Prepare,
    RankPlace,
    RankRaised,
    RankReturned,
    RankStopped,
    Recall,
    ReleaseGang,
    Returned,
    RunGang,
    Shared,
    Shutdown,
    StopSoon,
    WorldEnds,
    WorldFence,
    WorldValues,
)
from deeprc.runtime.network import address_towards
from deeprc.runtime.plain_world import launcher
from deeprc.runtime.rank_pool import RankPool
from deeprc.runtime.rank_process import RankProcess
from deeprc.runtime.rank_watch import LOOK_S, RankWatch
from deeprc.runtime.stuck import StuckWatch
from deeprc.runtime.told import Told
from deeprc.runtime.whereabouts import Whereabouts
from deeprc.runtime.wire import read_connection

# After a rank's exception, how long to wait whether a peer's death was the cause.
_BLAME_GRACE_S = 0.1
# Between a closed channel and the exit status that explains it, on a machine that is busy.
_EXIT_GRACE_S = 3.0
_MEMORY_GROWTH_BYTES = 1 << 30
# While tasks wait here for cores, what happens within this time is told in one message; so is the beginning of a task
# together with its end, if that comes as soon.
_TOGETHER_S = 0.001


class Agent:
    """One node's ranks and the gangs they form."""

    def __init__(self, run_directory: Path, node: str, cores: int) -> None:
        self._loop = Loop()
        self._node = node
        self._cores = cores
        self._real_cores = real_cores(cores)
        self._run_directory = run_directory
        connection = read_connection(run_directory)
        self._address = address_towards(connection.address)
        self._wire = AgentSocket(self._loop, run_directory, node, connection, self._hear_driver, self._end_run)
        self._lease = Lease()
        self._pool = RankPool(
            self._loop,
            self._lease.file,
            run_directory,
            node,
            self._address,
            record=self._record,
            on_message=self._hear_rank,
            on_end=self._rank_hung_up,
            on_exit=self._rank_ended,
            on_pid=self._rank_started,
            on_fence=lambda world, values: self._wire.send(WorldFence(world, values)),
        )
        self._watch = RankWatch(run_directory, self._memory_exceeded, self._record)
        self._stuck_watch = StuckWatch(self._loop, self._stuck, self._part_returned)
        self._gangs: dict[tuple[str, int], Gang] = {}
        self._gang_of: dict[int, Gang] = {}
        # Tasks that wait for the next core given back, in the order in which they came.
        self._ahead: dict[tuple[str, int], RunGang] = {}
        self._told = Told()
        self._run_has_ended = False
        self._stops = False
        self._flush_is_due = False

    def run(self) -> None:
        """Serve until the driver says so or dies."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._loop.stop())
        self._watch_lifeline()
        self._loop.before_turn(self._check_lease)
        self._loop.every(HEARTBEAT_S, self._beat)
        self._loop.after_turn(self._flush)
        self._loop.every(LOOK_S, self._look)
        self._wire.send(Hello(self._node, os.getpid(), self._address))
        try:
            self._loop.run()
        finally:
            self._pool.close()
            self._wire.flush()
            if self._run_has_ended:
                _remove_unfinished(self._run_directory)

    def _flush(self) -> None:
        """Tell the driver what has happened: at once, unless it is only a beginning or ranks have enough to do."""
        if self._wire.is_urgent and not self._ahead:
            self._wire.flush()
        elif self._wire.is_waiting and not self._flush_is_due:
            self._flush_is_due = True
            self._loop.later(_TOGETHER_S, self._flush_now)

    def _flush_now(self) -> None:
        self._flush_is_due = False
        self._wire.flush()

    def _look(self) -> None:
        gangs = list(self._gangs.values())
        self._watch.look(gangs)
        self._stuck_watch.look(gangs)

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

    def _record(self, kind: str, **fields: Any) -> None:
        self._wire.send(JournalEvent(kind, {"node": self._node, **fields}))

    def _hear_driver(self, messages: list[Any]) -> None:
        for message in messages:
            match message:
                case Heartbeat():
                    self._lease.renew(message.sent_s)
                case RunGang():
                    self._take(message)
                case Recall():
                    self._wire.send(Returned(tuple(self._ahead)))
                    self._ahead.clear()
                case Prepare():
                    self._pool.prepare(message.profile, message.modules)
                case CancelTask():
                    self._cancel(message.task)
                case GangRuns() | GangShares() | PartReturned() | ReleaseGang():
                    if gang := self._gangs.get((message.task, message.attempt)):
                        self._hear_of_gang(gang, message)
                case EndGang():
                    self._end_gang(message)
                case StopSoon():
                    self._stop_soon()
                case WorldValues() | WorldEnds():
                    self._hear_of_world(message)
                case Shutdown():
                    self._end_run()

    def _hear_of_gang(self, gang: Gang, message: GangRuns | GangShares | PartReturned | ReleaseGang) -> None:
        match message:
            case GangRuns():
                self._start_clock(gang)
            case GangShares():
                self._share(gang, message.value)
            case PartReturned():
                self._stuck_watch.returned_elsewhere(gang, message.entered)
            case ReleaseGang():
                self._release(gang)

    def _hear_of_world(self, message: WorldValues | WorldEnds) -> None:
        if isinstance(message, WorldValues):
            self._pool.complete_fence(message.world, message.values)
        else:
            self._pool.end_world(message.world)

    def _take(self, order: RunGang) -> None:
        order = order._replace(function=self._told.completed(order.function))
        if order.ahead:
            self._ahead[order.key] = order
        else:
            self._start_gang(order, order.cores)

    def _pass_on(self, gang: Gang) -> tuple[str, int] | None:
        """Which of the tasks sent ahead, the first to come, gets the core that this one has no more use for."""
        order = gang.order
        simple = order.layout == (1,) and len(gang.cores[0]) == 1 and not order.gpus[0] and order.memory_bytes is None
        return next(iter(self._ahead), None) if simple else None

    def _start_next(self, key: tuple[str, int] | None, cores: tuple[tuple[int, ...], ...]) -> None:
        if key is not None:
            self._start_gang(self._ahead.pop(key), cores)

    def _start_gang(self, order: RunGang, cores: tuple[tuple[int, ...], ...]) -> None:
        ranks = self._pool.acquire(order)
        gang = Gang(order, ranks, self._node, cores)
        self._gangs[order.key] = gang
        if not ranks:
            gang.cold()
            self._fail(gang)
            return
        for here, process in enumerate(ranks):
            self._gang_of[process.identifier] = gang
            process.begin_task()
            self._assign(gang, process, here)
        self._announce_if_complete(gang)

    def _assign(self, gang: Gang, process: RankProcess, here: int) -> None:
        order = gang.order
        assignment = Assignment(
            task=order.task,
            attempt=order.attempt,
            rank=gang.numbers[here],
            layout=order.layout,
            address=self._address,
            backend=order.backend,
            threads=order.profile.threads,
            cores=self._cores_for(order, here),
            gpus=real_gpus(order.gpus[here]),
            function=process.told.shortened(order.function)[:],
            arguments=order.arguments,
            inputs=order.inputs,
            table_bytes=order.table_bytes,
        )
        self._tell(process, tuple(assignment))
        if self._stops:
            self._tell(process, StopSoon())

    def _stop_soon(self) -> None:
        """Tell the ranks at work, and from now on all that begin, that the run stops."""
        self._stops = True
        for gang in self._gangs.values():
            for process in gang.ranks:
                self._tell(process, StopSoon())

    def _cores_for(self, order: RunGang, here: int) -> tuple[int, ...]:
        """Where a rank is pinned. One that is alone with one thread may run on any core of the node.

        Others use the machine too (the driver, this agent), and the kernel moves a lone rank out of their way.
        """
        if not self._real_cores or (order.size == 1 and order.profile.threads == 1):
            return self._real_cores
        return tuple(self._real_cores[core] for core in order.cores[here])

    def _tell(self, process: RankProcess, message: tuple[Any, ...] | Shared | StopSoon) -> None:
        process.channel.send(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def _rank_started(self, process: RankProcess) -> None:
        if gang := self._gang_of.get(process.identifier):
            self._announce_if_complete(gang)

    def _announce_if_complete(self, gang: Gang) -> None:
        """Tell the driver that all ranks here run, and start the clock."""
        if gang.started is not None or not gang.has_all_pids:
            return
        gang.started = time.monotonic()
        order = gang.order
        places = tuple(
            RankPlace(gang.rank_of(rank), self._node, cores[0], rank.pid or 0)
            for rank, cores in zip(gang.ranks, gang.cores, strict=True)
        )
        self._wire.send(GangStarted(order.task, order.attempt, places, time.time()), urgent=False)
        if not order.spans_nodes:
            self._start_clock(gang)

    def _start_clock(self, gang: Gang) -> None:
        if gang.order.timeout_s is not None:
            self._loop.later(gang.order.timeout_s, partial(self._time_is_up, gang))

    def _rank_hung_up(self, process: RankProcess) -> None:
        # The exit status comes from the zygote, a moment later.
        self._loop.later(_EXIT_GRACE_S, partial(self._rank_ended, process))

    def _hear_rank(self, process: RankProcess, frame: memoryview) -> None:
        message = pickle.loads(frame)
        gang = self._gang_of.get(process.identifier)
        match message:
            case JournalEvent():
                self._record(message.kind, **message.fields)
            case tuple() if gang:
                self._rank_returned(gang, process, RankReturned._make(message))
            case RankStopped() if gang:
                gang.stopped, process.unfit = message.message, "its task has stopped"
                self._rank_returned(gang, process, RankReturned(None, process.held_at_first or 0))
            case Shared() if gang:
                if gang.order.spans_nodes:
                    self._wire.send(GangShares(gang.order.task, gang.order.attempt, message.value))
                self._share(gang, message.value)
            case RankRaised(error="MpiWorldError") if gang and gang.may_start_plainly:
                self._start_plainly(gang)
            case RankRaised() if gang:
                gang.raised(process, message)
                self._loop.later(_BLAME_GRACE_S, partial(self._explain, gang))

    def _share(self, gang: Gang, value: str) -> None:
        """Tell the ranks here what rank 0 has said."""
        for process in gang.ranks:
            if gang.rank_of(process) != 0:
                self._tell(process, Shared(value))

    def _start_plainly(self, gang: Gang) -> None:
        """Begin again by the MPI library's own launcher: the library does not take our word for its world."""
        if not self._pool.plain_mpi:
            name = Path((launcher(1) or ["mpiexec"])[0]).name
            self._record("warning", message=f"MPI ranks are started by {name}, seconds each: the MPI library needs it")
        self._pool.plain_mpi = True
        self._dissolve(gang)
        self._pool.retire(gang.ranks, reason="the MPI library needs its own launcher")
        self._start_gang(gang.order, gang.cores)

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
        """Say that the ranks here have returned. Those of other nodes may still need them: see `_release`."""
        order = gang.order
        if not order.spans_nodes:
            self._release(gang)
        seconds, then = gang.seconds, self._pass_on(gang)
        results, peak = gang.packed_results(), gang.peak_memory_bytes
        self._wire.send(
            GangFinished(order.task, order.attempt, seconds, results, peak, time.time(), then, gang.stopped)
        )
        self._start_next(then, gang.cores)

    def _release(self, gang: Gang) -> None:
        """Let the ranks of a task that went well serve others."""
        order = gang.order
        self._dissolve(gang)
        if order.isolated:
            self._pool.retire(gang.ranks, reason="isolated")
        elif reason := next((rank.unfit for rank in gang.ranks if rank.unfit), None):
            self._pool.retire(gang.ranks, reason=reason)
            if order.world is not None:
                self._wire.send(WorldEnds(order.world))
        else:
            self._pool.release(order, gang.ranks)
            self._pool.trim(keep=2 * self._cores)

    def _rank_ended(self, process: RankProcess) -> None:
        gang = self._gang_of.get(process.identifier)
        if gang is None:
            world = self._pool.world_of(process)
            self._pool.retire([process], reason="it ended while idle")
            if world is not None:
                self._wire.send(WorldEnds(world))
            return
        # Its result may be among what it said before it ended.
        process.channel.drain()
        if process.identifier in self._gang_of:
            gang.died(process, self._watch.last_words_for(process))
            self._fail(gang)

    def _memory_exceeded(self, gang: Gang, process: RankProcess) -> None:
        gang.exceeded_memory(process)
        self._fail(gang)

    def _time_is_up(self, gang: Gang) -> None:
        if self._gangs.get(gang.order.key) is gang and not gang.finished:
            gang.timed_out()
            self._explain(gang)

    def _stuck(self, gang: Gang, places: tuple[Whereabouts, ...]) -> None:
        if self._gangs.get(gang.order.key) is gang and gang.failure is None:
            gang.stuck(places)
            self._fail(gang)

    def _part_returned(self, gang: Gang, entered: int) -> None:
        self._wire.send(PartReturned(gang.order.task, gang.order.attempt, entered))

    def _explain(self, gang: Gang) -> None:
        """End a gang that has failed; first ask where its ranks are, if that explains the failure."""
        if gang.failure is None or gang.failure.kind not in ("timeout", "stuck"):
            self._fail(gang)
        elif not gang.asking:
            gang.asking = True
            Enquiry(self._loop, gang, partial(self._explained, gang))

    def _explained(self, gang: Gang, places: tuple[Whereabouts, ...]) -> None:
        gang.locate(places)
        self._fail(gang)

    def _fail(self, gang: Gang) -> None:
        """End the gang's ranks, and no other, and tell the driver why."""
        order = gang.order
        if self._gangs.get(order.key) is not gang or gang.failure is None:
            return
        self._dissolve(gang)
        self._pool.retire(gang.ranks, reason="its task failed")
        then = self._pass_on(gang)
        self._wire.send(GangFailed(order.task, order.attempt, gang.seconds, gang.failure, then))
        self._start_next(then, gang.cores)

    def _end_gang(self, message: EndGang) -> None:
        """End the ranks here for what happened elsewhere, but first tell what they have met themselves."""
        gang = self._gangs.get((message.task, message.attempt))
        if gang is None:
            self._wire.send(GangEnded(message.task, message.attempt))
        elif gang.failure is not None:
            self._explain(gang)
        elif message.ask:
            Enquiry(self._loop, gang, partial(self._end_part, gang))
        else:
            self._end_part(gang, ())

    def _end_part(self, gang: Gang, places: tuple[Whereabouts, ...]) -> None:
        if self._gangs.get(gang.order.key) is gang:
            self._dissolve(gang)
            self._pool.retire(gang.ranks, reason="its task failed on another node")
            self._wire.send(GangEnded(gang.order.task, gang.order.attempt, places))

    def _cancel(self, task: str) -> None:
        for key in [key for key in self._ahead if key[0] == task]:
            del self._ahead[key]
        for gang in [gang for gang in self._gangs.values() if gang.order.task == task]:
            self._dissolve(gang)
            self._pool.retire(gang.ranks, reason="its task was cancelled")

    def _dissolve(self, gang: Gang) -> None:
        del self._gangs[gang.order.key]
        for rank in gang.ranks:
            self._gang_of.pop(rank.identifier, None)


def _remove_unfinished(run_directory: Path) -> None:
    """Remove what ranks were writing when they were ended; finished files have been renamed."""
    for pattern in ("datasets/**/*.tmp", "results/*.tmp", "artifacts/.*.tmp"):
        for path in run_directory.glob(pattern):
            path.unlink(missing_ok=True)
    shutil.rmtree(scratch_of(run_directory), ignore_errors=True)


def main() -> None:
    Agent(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])).run()


if __name__ == "__main__":
    main()
