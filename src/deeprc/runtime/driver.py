"""The driver: a thread of the session's process that holds graph and scheduler and speaks with the agents."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from deeprc.errors import AgentLostError, DeepRCError, DependencyFailedError, ResourceError
from deeprc.journal import JournalWriter
from deeprc.runtime.ahead import Ahead
from deeprc.runtime.failures import error_for, failure_event
from deeprc.runtime.flight import Flight
from deeprc.runtime.future import Future
from deeprc.runtime.graph import Graph
from deeprc.runtime.liveness import HEARTBEAT_S, Liveness
from deeprc.runtime.loop import Loop
from deeprc.runtime.messages import (
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
    PickledFunction,
    Prepare,
    Profile,
    Recall,
    ReleaseGang,
    Returned,
    RunGang,
    Shutdown,
    WorldEnds,
    WorldFence,
    WorldValues,
)
from deeprc.runtime.pilot import Pilot
from deeprc.runtime.results import merged_result
from deeprc.runtime.reuse import Reused
from deeprc.runtime.scheduler import Demand, Node, Placement, Scheduler, Seat
from deeprc.runtime.wire import DriverSocket
from deeprc.runtime.worlds import Worlds

# After a part of a gang has failed, how long its other parts may say what they have seen before they are ended.
_BLAME_GRACE_S = 0.3
Listener = Callable[[dict[str, Any]], None]


@dataclass
class Task:
    """One submitted task, from submission to its end."""

    name: str
    function: PickledFunction
    arguments: bytes
    # Held, and with them their results, until this task has ended.
    needs: tuple[Future, ...]
    demand: Demand
    backend: str | None
    profile: Profile
    modules: tuple[str, ...]
    timeout_s: float | None
    retries: int
    isolated: bool
    priority: int
    future: Future
    expected_s: float = 1.0
    attempt: int = 0
    flight: Flight | None = None
    # An earlier run's result, and who keeps this one's.
    reused: Reused | None = None
    keep: Callable[[str, bytes, float], None] | None = None
    described: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> object:
        """What tasks that take about as long have in common."""
        return self.function.key


class Driver:
    """Runs tasks on the nodes of a pilot. Its public methods may be called from any thread."""

    def __init__(self, pilot: Pilot, socket: DriverSocket, nodes: list[Node], journal: JournalWriter) -> None:
        self._pilot = pilot
        self._socket = socket
        self._journal = journal
        self._loop = Loop()
        self._graph = Graph()
        self._cores = sum(node.cores for node in nodes)
        self._scheduler = Scheduler(nodes, all_open=False)
        self._liveness = Liveness([node.name for node in nodes])
        self._worlds = Worlds()
        self._ahead = Ahead({node.name: node.cores for node in nodes})
        self._tasks: dict[str, Task] = {}
        self._outcomes: list[tuple[Callable[[Any], None], Any]] = []
        self._commands: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        self._woken = False
        self._prepared: set[tuple[Profile, tuple[str, ...]]] = set()
        self._listeners: list[Listener] = []
        self.failed_tasks = 0
        self._thread = threading.Thread(target=self._run, name="deeprc-driver", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def check(self, demand: Demand) -> None:
        """Refuse what the allocation can never give (ResourceError)."""
        self._scheduler.check(demand)

    def unfinished(self) -> list[Future]:
        """The futures of all tasks that have been submitted and have not ended."""
        return [task.future for task in list(self._tasks.values())]

    def submit(self, task: Task) -> None:
        self._tasks[task.name] = task
        self._call(lambda: self._submitted(task))

    def cancel(self, name: str, reason: str) -> None:
        self._call(lambda: self._cancelled(name, reason))

    def record(self, kind: str, **fields: Any) -> None:
        self._call(lambda: self._record(kind, **fields))

    def close(self, timeout_s: float = 10.0) -> None:
        """End every agent and this thread; what has not ended by then is ended by the pilot."""
        self._call(self._shut_down)
        self._thread.join(timeout_s)
        os.close(self._wake_write)
        os.close(self._wake_read)

    def _call(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        if not self._woken:
            self._woken = True
            os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        self._loop.watch(self._wake_read, self._obey)
        self._loop.watch(self._socket.socket, self._hear_agents)
        self._loop.every(HEARTBEAT_S, self._beat)
        self._loop.after_turn(self._end_turn)
        try:
            self._loop.run()
        except Exception as error:
            # A defect of ours must not leave users waiting for ever.
            self._abandon(error)
            raise
        finally:
            self._socket.socket.close()

    def _abandon(self, error: Exception) -> None:
        for tell, outcome in self._outcomes:
            tell(outcome)
        for task in self._tasks.values():
            if not task.future.done():
                lost = AgentLostError(f"task {task.name!r}: the driver failed: {error!r}", task=task.name)
                task.future.set_exception(lost)

    def _obey(self) -> None:
        os.read(self._wake_read, 4096)
        # Before the commands are looked at: one that comes later wakes us again.
        self._woken = False
        while self._commands:
            self._commands.popleft()()
        self._place()

    def _end_turn(self) -> None:
        """Send and write what the turn has led to; what users are told of is in the journal by then."""
        self._socket.flush()
        self._journal.flush()
        outcomes, self._outcomes = self._outcomes, []
        for tell, outcome in outcomes:
            tell(outcome)

    def _shut_down(self) -> None:
        self._send(self._liveness.nodes, Shutdown())
        self._loop.stop()

    # --- tasks

    def _submitted(self, task: Task) -> None:
        if task.name not in self._tasks:
            # The last node was lost meanwhile, and with it this task.
            return
        self._record("task.submitted", **task.described)
        if task.reused is not None:
            self._use_again(task, task.reused)
            return
        if self._is_impossible(task):
            return
        self._prepare(task)
        for need in task.needs:
            if need.packed is None and need.task not in self._tasks:
                # What it needs had failed before it was submitted.
                self._end_unrun(task, f"{need.task!r}, which it needs, did not finish")
                return
        unfinished = [need.task for need in task.needs if need.packed is None]
        if self._graph.add(task.name, unfinished, task.expected_s):
            self._ready(task)

    def _use_again(self, task: Task, reused: Reused) -> None:
        """End a task with the result that an earlier run has kept."""
        task.future.packed = reused.packed
        del self._tasks[task.name]
        if task.keep is not None:
            task.keep(task.name, reused.packed, reused.seconds)
        self._record("task.reused", task=task.name, run=reused.run, result=_short(reused.value))
        self._outcomes.append((task.future.set_result, reused.value))

    def _ready(self, task: Task) -> None:
        path_s = self._graph.rank_upward.get(task.name, 0.0)
        self._scheduler.add(task.name, task.demand, path_s, priority=task.priority, arrived_s=time.monotonic())

    def _prepare(self, task: Task) -> None:
        """Have agents import what the task needs, while it still waits."""
        key = (task.profile, task.modules)
        if key not in self._prepared:
            self._prepared.add(key)
            self._send(self._liveness.ready, Prepare(*key))

    def _place(self) -> None:
        for placement in self._scheduler.place():
            task = self._tasks[placement.task]
            task.attempt += 1
            self._run_on(task, Flight(task.attempt, placement))
        if self._scheduler.has_free_cores:
            # Nothing that is ready fits there; what was sent ahead may.
            self._send(self._ahead.recall(), Recall())
            return
        self._send_ahead()

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
                world=flight.world,
                warm=warm,
                ahead=ahead,
            )
            self._socket.send(node, order)

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
        self._ready(task)

    def _finished(self, task: Task, flight: Flight) -> None:
        self._scheduler.release(task.name)
        self._ahead.took(task.kind, flight.seconds)
        try:
            result, value = merged_result(flight.results())
        except Exception as error:
            self._fail(task, DeepRCError(f"the result of task {task.name!r} cannot be read: {error}"))
            return
        task.future.packed = result
        del self._tasks[task.name]
        if task.keep is not None:
            task.keep(task.name, result, round(flight.seconds, 6))
        for ready in self._graph.finish(task.name):
            self._ready(self._tasks[ready])
        self._record(
            "task.finished",
            task=task.name,
            attempt=task.attempt,
            seconds=round(flight.seconds, 6),
            peak_memory_bytes=flight.peak_memory_bytes,
            result=_short(value),
            **flight.clock,
        )
        self._outcomes.append((task.future.set_result, value))

    def _failed(self, task: Task, flight: Flight) -> None:
        self._scheduler.release(task.name)
        failure = flight.blamed()
        if failure.kind == "cold":
            self._record("warning", message=f"task {task.name!r} is started again: {failure.message}")
            task.retries += 1
            self._again(task)
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
        self._again(task) if will_retry else self._end_failed(task, error)

    def _again(self, task: Task) -> None:
        task.flight = None
        if not self._is_impossible(task):
            self._ready(task)

    def _is_impossible(self, task: Task) -> bool:
        """Fail a task that the nodes which are left can never hold."""
        why = ""
        if not self._liveness.any_left:
            why = "no node is left; open another session"
        else:
            try:
                self._scheduler.check(task.demand)
            except ResourceError as error:
                why = f"nodes were lost, and those left cannot hold it: {error}"
        if why:
            self._fail(task, AgentLostError(f"task {task.name!r}: {why}", task=task.name))
        return bool(why)

    def _fail(self, task: Task, error: DeepRCError) -> None:
        """End a task that has no attempt under way."""
        self._record(
            "task.failed",
            task=task.name,
            attempt=task.attempt,
            seconds=0.0,
            error=type(error).__name__,
            message=str(error),
            will_retry=False,
        )
        self._end_failed(task, error)

    def _end_failed(self, task: Task, error: DeepRCError) -> None:
        self.failed_tasks += 1
        self._lose(task, error, f"{task.name!r}, which it needs, failed: {str(error).splitlines()[0]}")

    def _lose(self, task: Task, error: BaseException, reason: str) -> None:
        """End a task without a result, and cancel what needs it."""
        del self._tasks[task.name]
        for dependent, _ in self._graph.fail(task.name):
            self._scheduler.drop(dependent)
            self._end_unrun(self._tasks[dependent], reason)
        self._outcomes.append((task.future.set_exception, error))

    def _end_unrun(self, task: Task, reason: str) -> None:
        del self._tasks[task.name]
        self._record("task.cancelled", task=task.name, reason=reason)
        error = DependencyFailedError(f"task {task.name!r} was cancelled: {reason}", task=task.name)
        self._outcomes.append((task.future.set_exception, error))

    def _cancelled(self, name: str, reason: str) -> None:
        task = self._tasks.get(name)
        if task is None:
            return
        self._scheduler.drop(name)
        self._scheduler.release(name)
        if task.flight is not None:
            for node in task.flight.parts:
                self._ahead.gone(node, name)
            self._send(task.flight.parts, CancelTask(name))
            self._drop_world(task.flight)
        self._record("task.cancelled", task=name, reason=reason)
        error = DependencyFailedError(f"task {name!r} was cancelled: {reason}", task=name)
        self._lose(task, error, f"{name!r}, which it needs, was cancelled: {reason}")

    # --- gangs in flight

    def _flight_of(self, message: GangStarted | GangFinished | GangFailed | GangEnded | GangShares) -> Flight | None:
        """The attempt that a message is about, unless it is over."""
        task = self._tasks.get(message.task)
        if task is None or task.flight is None or task.attempt != message.attempt:
            return None
        return task.flight

    def _hear_gang(self, node: str, message: GangStarted | GangFinished | GangFailed | GangEnded | GangShares) -> None:
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
            case GangShares():
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
                flight.ended(node)
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
            self._send(flight.to_end(), EndGang(task.name, flight.attempt))

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

    # --- agents

    def _send(self, nodes: Iterable[str], message: Any) -> None:
        for node in nodes:
            self._socket.send(node, message)

    def _hear_agents(self) -> None:
        for node, message in self._socket.receive():
            if not self._liveness.heard(node):
                # Given up as lost: what ran there has been ended or started elsewhere.
                self._socket.send(node, Shutdown())
                continue
            match message:
                case GangStarted() | GangFinished() | GangFailed() | GangEnded() | GangShares():
                    self._hear_gang(node, message)
                case Returned():
                    self._returned(node, message)
                case JournalEvent():
                    self._record(message.kind, **message.fields)
                case WorldFence():
                    nodes, values = self._worlds.fence(message.world, node, message.values)
                    self._send(nodes, WorldValues(message.world, values))
                case WorldEnds():
                    self._send(self._worlds.forget(message.world), message)
                case Hello():
                    self._welcome(node)
        self._place()

    def _welcome(self, node: str) -> None:
        self._liveness.ready.add(node)
        self._scheduler.open(node)
        for profile, modules in self._prepared:
            self._socket.send(node, Prepare(profile, modules))

    def _beat(self) -> None:
        self._send(self._liveness.ready, Heartbeat())
        for node, why in {**self._liveness.silent(), **self._pilot.lost_nodes()}.items():
            if self._liveness.lost(node):
                self._node_lost(node, why)
        self._place()

    def _node_lost(self, node: str, why: str) -> None:
        """Fail what ran there, on its other nodes too; and what the nodes that are left can never hold."""
        self._record("warning", message=f"node {node} is lost: {why}")
        self._scheduler.remove(node)
        for name in self._worlds.on_node(node):
            self._send(self._worlds.forget(name), WorldEnds(name))
        for name in self._ahead.lost(node):
            self._unsend(self._tasks[name])
        for task in list(self._tasks.values()):
            flight = task.flight
            if flight is None:
                continue
            if node in flight.parts:
                flight.lost(node, why)
                self._settle(task, flight) if flight.reported else self._end_parts(task, flight)
        for task in list(self._tasks.values()):
            if task.name in self._tasks and task.flight is None and self._is_impossible(task):
                self._scheduler.drop(task.name)

    def _record(self, kind: str, **fields: Any) -> None:
        event = self._journal.append(kind, **fields)
        for listener in self._listeners:
            try:
                listener(event)
            except BaseException:
                # A listener only watches: it must not stop the run.
                traceback.print_exc()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
