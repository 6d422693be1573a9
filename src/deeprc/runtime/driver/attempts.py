"""Attempts under way: which tasks go to which nodes, what their agents say of them, and when they are over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from deeprc.errors import DeepRCError
from deeprc.runtime.driver.ahead import Ahead
from deeprc.runtime.driver.failures import error_for, failure_event, why_again, with_source
from deeprc.runtime.driver.flight import Flight
from deeprc.runtime.driver.liveness import Liveness
from deeprc.runtime.driver.results import merged_result
from deeprc.runtime.driver.scheduler import Demand, Placement, Scheduler, Seat
from deeprc.runtime.driver.tasks import Record, Task, Tasks
from deeprc.runtime.driver.worlds import Worlds
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.messages import (
    CancelTask,
    EndGang,
    Failure,
    GangEnded,
    GangFailed,
    GangFinished,
    GangRuns,
    GangShares,
    GangStarted,
    PartReturned,
    Recall,
    ReleaseGang,
    Returned,
    RunGang,
    WorldEnds,
    WorldFence,
    WorldValues,
)
from deeprc.runtime.pilot import Node

# After a part of a gang has failed, how long its other parts may say what they have seen before they are ended.
_BLAME_GRACE_S = 0.3

# How often the ranks of a task may die in MPI_Init before that counts as an attempt.
_MOST_UNJOINED = 2

GangMessage = GangStarted | GangFinished | GangFailed | GangEnded | GangShares | PartReturned
Send = Callable[[Iterable[str], Any], None]


class Attempts:
    """Makes attempts at the tasks that are ready; `send(nodes, message)` reaches the agents.

    `memory_bytes` is what the user gave the ranks of each node, None where nothing was said.
    """

    def __init__(
        self,
        nodes: list[Node],
        tasks: Tasks,
        scheduler: Scheduler,
        liveness: Liveness,
        loop: Loop,
        send: Send,
        record: Record,
        memory_bytes: int | None,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._cores_of = {node.name: node.cores for node in nodes}
        self._tasks = tasks
        self._scheduler = scheduler
        self._liveness = liveness
        self._loop = loop
        self._send = send
        self._record = record
        self._cores = sum(self._cores_of.values())
        # Whether a launcher starts MPI worlds that span nodes: the site says so, or the MPI library needs it.
        self.plain_mpi = False
        self._worlds = Worlds()
        self._ahead = Ahead(self._cores_of)

    def place(self) -> None:
        """Start what fits now, and send ahead what will fit in a moment."""
        for placement in self._scheduler.place():
            task = self._tasks[placement.task]
            task.attempt += 1
            self._run_on(task, Flight(task.attempt, placement))
        if self._scheduler.has_free_cores:
            # Nothing that is ready fits there; what was sent ahead may.
            self._send(self._ahead.recall(), Recall())
            return
        self._send_ahead()

    def hear(self, node: str, message: GangMessage | Returned | WorldFence | WorldEnds) -> None:
        """Take in what an agent says of attempts and of their MPI worlds."""
        match message:
            case Returned():
                self._returned(node, message)
            case WorldFence():
                nodes, values = self._worlds.fence(message.world, node, message.values)
                self._send(nodes, WorldValues(message.world, values))
            case WorldEnds():
                self._send(self._worlds.forget(message.world), message)
            case _:
                self._hear_gang(node, message)

    def cancel(self, task: Task) -> None:
        """End what runs of a task, or take it from the queue; the task itself is the caller's to end."""
        self._scheduler.drop(task.name)
        self._scheduler.release(task.name)
        if task.flight is not None:
            for node in task.flight.parts:
                self._ahead.gone(node, task.name)
            self._send(task.flight.parts, CancelTask(task.name))
            self._drop_world(task.flight)

    def node_lost(self, node: str, why: str) -> None:
        """Fail what ran there, on its other nodes too; and what the nodes that are left can never hold."""
        self._scheduler.remove(node)
        for name in self._worlds.on_node(node):
            self._send(self._worlds.forget(name), WorldEnds(name))
        for name in self._ahead.lost(node):
            self._unsend(self._tasks[name])
        for task in self._tasks.all():
            flight = task.flight
            if flight is None:
                continue
            if node in flight.parts:
                flight.lost(node, why)
                self._settle(task, flight) if flight.reported else self._end_parts(task, flight)
        for task in self._tasks.all():
            if task.name in self._tasks and task.flight is None and self._tasks.is_impossible(task):
                self._scheduler.drop(task.name)

    def _send_ahead(self) -> None:
        """Send nodes what they will have cores for in the next milliseconds."""
        for node in self._liveness.ready:
            following = self._scheduler.first()
            if following is None or not (room := self._ahead.room(node, self._tasks[following].kind)):
                continue
            for name in self._scheduler.take_ahead(room, self._may_go_ahead):
                task = self._tasks[name]
                task.attempt += 1
                self._ahead.sent(node, name, task.kind)
                self._run_on(task, Flight(task.attempt, Placement(name, (Seat(node, (), ()),))), ahead=True)

    def _may_go_ahead(self, name: str) -> bool:
        task = self._tasks[name]
        return task.backend in (None, "solo") and not task.isolated and self._ahead.is_short(task.kind)

    def _run_on(self, task: Task, flight: Flight, *, ahead: bool = False) -> None:
        """Send each node its part."""
        task.flight = flight
        if not ahead and task.attempt == 1:
            task.future.set_running_or_notify_cancel()
        warm = False
        if task.backend == "mpi" and flight.spans_nodes:
            shape = {node: len(part.seats) for node, part in flight.parts.items()}
            flight.world, warm = self._worlds.acquire(task.profile, shape, fresh=task.isolated)
        inputs = {need.task: need.packed or b"" for need in task.needs}
        layout = flight.layout
        for node, part in flight.parts.items():
            order = RunGang(
                task=task.name,
                attempt=task.attempt,
                backend=task.backend,
                profile=task.profile,
                modules=task.modules,
                layout=layout,
                part=part.index,
                cores=tuple(seat.cores for seat in part.seats),
                gpus=tuple(seat.gpus for seat in part.seats),
                function=task.function,
                arguments=task.arguments,
                inputs=inputs,
                timeout_s=task.timeout_s,
                isolated=task.isolated,
                memory_bytes=task.demand.memory_bytes or None,
                table_bytes=self._table_bytes(task.demand, node),
                world=flight.world,
                warm=warm,
                plain_mpi=self.plain_mpi,
                ahead=ahead,
            )
            self._send((node,), order)

    def _table_bytes(self, demand: Demand, node: str) -> int | None:
        """What each rank's tables are to stay within: the task's memory, else its cores' share of the session's.

        By cores, not by the ranks that are there now: others may come while it works, and no core is given twice.
        """
        if demand.memory_bytes or self._memory_bytes is None:
            return demand.memory_bytes or None
        return self._memory_bytes * demand.threads // self._cores_of[node]

    def _pass_on(self, node: str, name: str, then: tuple[str, int] | None) -> None:
        """Follow the agent, which has given the core of a task that ended to one sent ahead."""
        following = self._tasks.get(then[0]) if then is not None else None
        if then is None or following is None or following.flight is None or following.attempt != then[1]:
            # Nothing follows, or it has been cancelled meanwhile.
            self._scheduler.release(name)
            return
        self._ahead.gone(node, following.name)
        following.flight.parts[node].seats = (self._scheduler.pass_on(name, following.name),)
        if following.attempt == 1:
            following.future.set_running_or_notify_cancel()

    def _adopt(self, node: str, then: tuple[str, int]) -> None:
        """A task sent ahead has been given a core that was no longer its predecessor's: it is run again in its turn."""
        task = self._tasks.get(then[0])
        if task is not None and task.attempt == then[1] and self._ahead.gone(node, task.name):
            self._scheduler.occupy(task.name, task.demand, node)

    def _returned(self, node: str, message: Returned) -> None:
        """What was sent ahead and has not begun is ready again."""
        self._ahead.came_back(node)
        for name, attempt in message.attempts:
            task = self._tasks.get(name)
            if task is not None and task.attempt == attempt and self._ahead.gone(node, name):
                self._unsend(task)

    def _unsend(self, task: Task) -> None:
        task.attempt -= 1
        task.flight = None
        self._tasks.ready(task)

    def _flight_of(self, message: GangMessage) -> Flight | None:
        """The attempt that a message is about, unless it is over."""
        task = self._tasks.get(message.task)
        if task is None or task.flight is None or task.attempt != message.attempt:
            return None
        return task.flight

    def _hear_gang(self, node: str, message: GangMessage) -> None:
        flight = self._flight_of(message)
        if flight is None or node not in flight.parts:
            # Cancelled meanwhile; its core has been given back already.
            if isinstance(message, GangFinished | GangFailed) and message.then is not None:
                self._adopt(node, message.then)
            return
        task = self._tasks[message.task]
        match message:
            case GangStarted():
                self._part_started(task, flight, node, message)
            case GangShares() | PartReturned():
                self._send((peer for peer in flight.parts if peer != node), message)
            case GangFinished():
                if message.then is not None:
                    self._pass_on(node, task.name, message.then)
                flight.finished(node, message)
            case GangFailed():
                if message.then is not None:
                    self._pass_on(node, task.name, message.then)
                self._part_failed(task, flight, node, message)
            case GangEnded():
                flight.ended(node, message.whereabouts)
        if flight.reported:
            self._settle(task, flight)

    def _part_started(self, task: Task, flight: Flight, node: str, message: GangStarted) -> None:
        places = flight.started(node, message)
        if not places:
            return
        self._record(
            "task.started",
            task=task.name,
            attempt=task.attempt,
            ranks=[place._asdict() for place in places],
            time=message.time,
        )
        if flight.spans_nodes and task.timeout_s is not None:
            self._send(flight.parts, GangRuns(task.name, task.attempt))

    def _part_failed(self, task: Task, flight: Flight, node: str, message: GangFailed) -> None:
        first = not flight.has_failed
        flight.failed(node, message.failure, message.seconds)
        if first and not flight.reported:
            self._loop.later(_BLAME_GRACE_S, lambda: self._end_parts(task, flight))

    def _end_parts(self, task: Task, flight: Flight) -> None:
        if task.flight is flight and not flight.reported:
            self._send(flight.to_end(), EndGang(task.name, flight.attempt, ask=flight.needs_whereabouts))

    def _settle(self, task: Task, flight: Flight) -> None:
        """Every part has reported: the attempt is over."""
        task.flight = None
        if flight.has_failed:
            self._send(flight.to_end(), EndGang(task.name, flight.attempt))
            self._drop_world(flight)
            self._failed(task, flight)
            return
        if flight.spans_nodes:
            self._send(flight.parts, ReleaseGang(task.name, flight.attempt))
            self._keep_world(task, flight)
        self._finished(task, flight)

    def _finished(self, task: Task, flight: Flight) -> None:
        self._scheduler.release(task.name)
        if flight.stopped is not None:
            self._tasks.stop(task, f"it has stopped with a checkpoint: {flight.stopped}")
            return
        self._ahead.took(task.kind, flight.seconds)
        try:
            result, value = merged_result(flight.results())
        except BaseException as error:
            # It is the user's own code that reads it, in this thread.
            self._tasks.fail(task, DeepRCError(f"the result of task {task.name!r} cannot be read: {error}"))
            return
        self._tasks.finish(task, result, value, flight)

    def _failed(self, task: Task, flight: Flight) -> None:
        self._scheduler.release(task.name)
        failure = with_source(flight.blamed())
        if self._is_no_attempt(task, failure):
            self._record("warning", message=f"task {task.name!r} is started again: {why_again(failure)}")
            task.retries += 1
            self._tasks.again(task)
            return
        error = error_for(task.name, failure)
        will_retry = error.retryable and task.attempt <= task.retries and self._liveness.any_left
        self._record(
            "task.failed",
            task=task.name,
            attempt=task.attempt,
            seconds=round(flight.seconds, 6),
            will_retry=will_retry,
            **failure_event(error, failure),
        )
        self._tasks.again(task) if will_retry else self._tasks.end_failed(task, error)

    def _is_no_attempt(self, task: Task, failure: Failure) -> bool:
        """Whether a task's function has begun on no rank, for a reason that another start may not meet."""
        match failure.kind:
            case "cold":
                return True
            case "unserved":
                self.plain_mpi = True
                return True
            case "unjoined":
                task.unjoined += 1
                return task.unjoined <= _MOST_UNJOINED and self._liveness.any_left
        return False

    def _keep_world(self, task: Task, flight: Flight) -> None:
        if flight.world is None:
            return
        if task.isolated or not self._worlds.release(flight.world):
            self._drop_world(flight)
            return
        for name in self._worlds.surplus(self._cores):
            self._send(self._worlds.forget(name), WorldEnds(name))

    def _drop_world(self, flight: Flight) -> None:
        if flight.world is not None:
            self._worlds.forget(flight.world)
            self._send(flight.parts, WorldEnds(flight.world))
