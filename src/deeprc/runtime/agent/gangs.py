"""The gangs at work on a node: begun on ranks of its pool, heard, and ended, each for its own reason."""

from __future__ import annotations

import pickle
import time
from functools import partial
from pathlib import Path
from typing import Any

from deeprc.runtime.agent.agent_socket import Tell
from deeprc.runtime.agent.assignment import assignment_of
from deeprc.runtime.agent.enquiry import Enquiry
from deeprc.runtime.agent.gang import Gang
from deeprc.runtime.agent.gang_watch import GangWatch
from deeprc.runtime.agent.launcher import launcher_name
from deeprc.runtime.agent.rank_pool import RankPool
from deeprc.runtime.agent.rank_process import RankProcess
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.messages import (
    EndGang,
    GangEnded,
    GangFailed,
    GangFinished,
    GangRuns,
    GangShares,
    GangStarted,
    Joining,
    JournalEvent,
    PartReturned,
    RankRaised,
    RankReturned,
    RankStopped,
    ReleaseGang,
    Returned,
    RunGang,
    Shared,
    StopSoon,
    WorldEnds,
    WorldFence,
)
from deeprc.runtime.link.told import Told
from deeprc.runtime.link.whereabouts import Whereabouts
from deeprc.runtime.process.devices import real_cores

# After a rank's exception, how long to wait whether a peer's death was the cause.
_BLAME_GRACE_S = 0.1
# Between a closed channel and the exit status that explains it, on a machine that is busy.
_EXIT_GRACE_S = 6.0


class Gangs:
    """Does what the driver orders with the ranks of a node, and tells it what becomes of its tasks.

    `pool` has the ranks, those that are idle too. `lease` is the descriptor of the page that says until when they may
    run, `address` the node's own towards other nodes.
    """

    def __init__(
        self, loop: Loop, lease: int, run_directory: Path, node: str, cores: int, address: str, tell: Tell
    ) -> None:
        self._loop = loop
        self._node = node
        self._cores = cores
        self._real_cores = real_cores(cores)
        self._address = address
        self._tell = tell
        self.pool = RankPool(
            loop,
            lease,
            run_directory,
            node,
            address,
            record=self._record,
            on_message=self._hear_rank,
            on_end=self._rank_hung_up,
            on_exit=self._rank_ended,
            on_pid=self._rank_started,
            on_fence=lambda world, values: tell(WorldFence(world, values)),
        )
        self._watch = GangWatch(loop, run_directory, self._is_at_work, self._fail, tell, self._record)
        self._gangs: dict[tuple[str, int], Gang] = {}
        self._gang_of: dict[int, Gang] = {}
        # Tasks that wait for the next core given back, in the order in which they came.
        self._ahead: dict[tuple[str, int], RunGang] = {}
        self._told = Told()
        self._stops = False

    @property
    def tasks_wait(self) -> bool:
        """Whether tasks that were sent ahead wait here for cores."""
        return bool(self._ahead)

    def take(self, order: RunGang) -> None:
        """Start the ranks here of an attempt, or have it wait for a core if it was sent ahead."""
        order = order._replace(function=self._told.completed(order.function))
        if order.ahead:
            self._ahead[order.key] = order
        else:
            self._start_gang(order, order.cores)

    def recall(self) -> None:
        """Give back the tasks that still wait here for cores."""
        self._tell(Returned(tuple(self._ahead)))
        self._ahead.clear()

    def hear(self, message: GangRuns | GangShares | PartReturned | ReleaseGang) -> None:
        """Take in what is said of a gang that spans nodes, if it still is at work here."""
        gang = self._gangs.get((message.task, message.attempt))
        if gang is None:
            return
        match message:
            case GangRuns():
                self._watch.start_clock(gang)
            case GangShares():
                self._share(gang, message.value)
            case PartReturned():
                self._watch.returned_elsewhere(gang, message.entered)
            case ReleaseGang():
                self._release(gang)

    def end(self, message: EndGang) -> None:
        """End the ranks here for what happened elsewhere, but first tell what they have met themselves."""
        gang = self._gangs.get((message.task, message.attempt))
        for process in gang.ranks if gang is not None else ():
            process.channel.drain()
        if gang is None or not self._is_at_work(gang):
            self._tell(GangEnded(message.task, message.attempt))
        elif gang.failure is not None:
            self._watch.explain(gang)
        elif gang.lost_a_rank:
            # What was met elsewhere is due to its death, which is told in a moment.
            return
        elif message.ask:
            Enquiry(self._loop, gang, partial(self._end_part, gang))
        else:
            self._end_part(gang, ())

    def cancel(self, task: str) -> None:
        """End what runs of a task, or let it wait no longer."""
        for key in [key for key in self._ahead if key[0] == task]:
            del self._ahead[key]
        for gang in [gang for gang in self._gangs.values() if gang.order.task == task]:
            self._dissolve(gang)
            self.pool.retire(gang.ranks, reason="its task was cancelled")

    def stop_soon(self) -> None:
        """Tell the ranks at work, and from now on all that begin, that the run stops."""
        self._stops = True
        for gang in self._gangs.values():
            for process in gang.ranks:
                process.tell(StopSoon())

    def look(self) -> None:
        """Look at the ranks at work, some times a second: their memory, their output, whether they are stuck."""
        self._watch.look(list(self._gangs.values()))

    def _record(self, kind: str, **fields: Any) -> None:
        self._tell(JournalEvent(kind, {"node": self._node, **fields}))

    def _is_at_work(self, gang: Gang) -> bool:
        return self._gangs.get(gang.order.key) is gang

    def _pass_on(self, gang: Gang) -> tuple[str, int] | None:
        """Which of the tasks sent ahead, the first to come, gets the core that this one has no more use for."""
        return next(iter(self._ahead), None) if gang.gives_one_core else None

    def _start_next(self, key: tuple[str, int] | None, cores: tuple[tuple[int, ...], ...]) -> None:
        if key is not None:
            self._start_gang(self._ahead.pop(key), cores)

    def _start_gang(self, order: RunGang, cores: tuple[tuple[int, ...], ...]) -> None:
        ranks = self.pool.acquire(order)
        gang = Gang(order, ranks, self._node, cores)
        self._gangs[order.key] = gang
        if not ranks:
            gang.cold()
            self._fail(gang)
            return
        for here, process in enumerate(ranks):
            self._gang_of[process.identifier] = gang
            process.begin_task()
            process.tell(tuple(assignment_of(gang, here, self._address, self._real_cores)))
            if self._stops:
                process.tell(StopSoon())
        self._announce_if_complete(gang)

    def _rank_started(self, process: RankProcess) -> None:
        if gang := self._gang_of.get(process.identifier):
            self._announce_if_complete(gang)

    def _announce_if_complete(self, gang: Gang) -> None:
        """Tell the driver that all ranks here run, and start the clock."""
        if gang.started is not None or not gang.has_all_pids:
            return
        gang.started = time.monotonic()
        order = gang.order
        self._tell(GangStarted(order.task, order.attempt, gang.places, time.time()), urgent=False)
        if not order.spans_nodes:
            self._watch.start_clock(gang)
        self._finish_if_complete(gang)

    def _rank_hung_up(self, process: RankProcess) -> None:
        # The exit status comes from the zygote, a moment later.
        self._loop.later(_EXIT_GRACE_S, partial(self._rank_ended, process))

    def _hear_rank(self, process: RankProcess, frame: memoryview) -> None:
        message = pickle.loads(frame)
        gang = self._gang_of.get(process.identifier)
        match message:
            case JournalEvent():
                self._record(message.kind, **message.fields)
            case Joining():
                process.joining = not message.joined
            case tuple() if gang:
                self._rank_returned(gang, process, RankReturned._make(message))
            case RankStopped() if gang:
                gang.stopped, process.unfit = message.message, "its task has stopped"
                self._rank_returned(gang, process, RankReturned(None, process.held_at_first or 0))
            case Shared() if gang:
                if gang.order.spans_nodes:
                    self._tell(GangShares(gang.order.task, gang.order.attempt, message.value))
                self._share(gang, message.value)
            case RankRaised(error="MpiWorldError") if gang and gang.may_start_plainly:
                self._start_plainly(gang)
            case RankRaised() if gang:
                gang.raised(process, message)
                self._loop.later(_BLAME_GRACE_S, partial(self._watch.explain, gang))

    def _share(self, gang: Gang, value: str) -> None:
        """Tell the ranks here what rank 0 has said."""
        for process in gang.ranks:
            if gang.rank_of(process) != 0:
                process.tell(Shared(value))

    def _start_plainly(self, gang: Gang) -> None:
        """Begin again by the MPI library's own launcher: the library does not take our word for its world."""
        if gang.order.spans_nodes:
            gang.unserved()
            self._fail(gang)
            return
        if not self.pool.plain_mpi:
            how = f"MPI ranks are started by {launcher_name([self._node])}, seconds each"
            self._record("warning", message=f"{how}: the MPI library needs it")
        self.pool.plain_mpi = True
        self._dissolve(gang)
        self.pool.retire(gang.ranks, reason="the MPI library needs its own launcher")
        self._start_gang(gang.order, gang.cores)

    def _rank_returned(self, gang: Gang, process: RankProcess, message: RankReturned) -> None:
        gang.returned(process, message.result)
        process.returned(message)
        self._finish_if_complete(gang)

    def _finish_if_complete(self, gang: Gang) -> None:
        """Finish once all ranks here have returned; a forked one may have before its zygote tells that it runs."""
        if gang.finished and gang.failure is None and gang.started is not None:
            self._finish(gang)

    def _finish(self, gang: Gang) -> None:
        """Say that the ranks here have returned. Those of other nodes may still need them: see `_release`."""
        order = gang.order
        if not order.spans_nodes:
            self._release(gang)
        seconds, then = gang.seconds, self._pass_on(gang)
        results, peak = gang.packed_results(), gang.peak_memory_bytes
        self._tell(GangFinished(order.task, order.attempt, seconds, results, peak, time.time(), then, gang.stopped))
        self._start_next(then, gang.cores)

    def _release(self, gang: Gang) -> None:
        """Let the ranks of a task that went well serve others."""
        order = gang.order
        self._dissolve(gang)
        if order.isolated:
            self.pool.retire(gang.ranks, reason="isolated")
        elif reason := next((rank.unfit for rank in gang.ranks if rank.unfit), None):
            self.pool.retire(gang.ranks, reason=reason)
            if order.world is not None:
                self._tell(WorldEnds(order.world))
        else:
            self.pool.release(order, gang.ranks)
            self.pool.trim(keep=2 * self._cores)

    def _rank_ended(self, process: RankProcess) -> None:
        gang = self._gang_of.get(process.identifier)
        if gang is None:
            world = self.pool.world_of(process)
            self.pool.retire([process], reason="it ended while idle")
            if world is not None:
                self._tell(WorldEnds(world))
            return
        # Its result may be among what it said before it ended.
        process.channel.drain()
        if process.identifier in self._gang_of:
            gang.died(process, self._watch.last_words_for(process))
            self._fail(gang)

    def _fail(self, gang: Gang) -> None:
        """End the gang's ranks, and no other, and tell the driver why."""
        order = gang.order
        if not self._is_at_work(gang) or gang.failure is None:
            return
        self._dissolve(gang)
        self.pool.retire(gang.ranks, reason="its task failed")
        then = self._pass_on(gang)
        self._tell(GangFailed(order.task, order.attempt, gang.seconds, gang.reported(), then))
        self._start_next(then, gang.cores)

    def _end_part(self, gang: Gang, places: tuple[Whereabouts, ...]) -> None:
        if self._is_at_work(gang):
            self._dissolve(gang)
            self.pool.retire(gang.ranks, reason="its task failed on another node")
            self._tell(GangEnded(gang.order.task, gang.order.attempt, places))

    def _dissolve(self, gang: Gang) -> None:
        del self._gangs[gang.order.key]
        for rank in gang.ranks:
            self._gang_of.pop(rank.identifier, None)
