"""The driver: a thread of the session's process that holds graph and scheduler and speaks with the agents."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deeprc.errors import AgentLostError, DeepRCError, DependencyFailedError
from deeprc.journal import JournalWriter
from deeprc.runtime.failures import error_for, failure_event
from deeprc.runtime.future import Future
from deeprc.runtime.graph import Graph
from deeprc.runtime.loop import Loop
from deeprc.runtime.messages import (
    CancelTask,
    GangFailed,
    GangFinished,
    GangStarted,
    Heartbeat,
    Hello,
    JournalEvent,
    Prepare,
    Profile,
    RunGang,
    Shutdown,
)
from deeprc.runtime.pilot import Pilot
from deeprc.runtime.results import merged_result
from deeprc.runtime.scheduler import Demand, Node, Placement, Scheduler
from deeprc.runtime.wire import DriverSocket

_HEARTBEAT_S = 1.0
_AGENT_SILENT_S = 30.0
Listener = Callable[[dict[str, Any]], None]


@dataclass
class Task:
    """One submitted task, from submission to its end."""

    name: str
    call: bytes
    needs: tuple[str, ...]
    demand: Demand
    backend: str | None
    profile: Profile
    modules: tuple[str, ...]
    timeout_s: float | None
    retries: int
    isolated: bool
    future: Future
    expected_s: float = 1.0
    attempt: int = 0
    node: str | None = None
    # Results are kept while tasks that need them have not ended.
    dependents: int = 0
    result: bytes | None = None
    described: dict[str, Any] = field(default_factory=dict)


class Driver:
    """Runs tasks on the nodes of a pilot. Its public methods may be called from any thread."""

    def __init__(self, pilot: Pilot, socket: DriverSocket, nodes: list[Node], journal: JournalWriter) -> None:
        self._pilot = pilot
        self._socket = socket
        self._journal = journal
        self._loop = Loop()
        self._graph = Graph()
        self._nodes = nodes
        self._scheduler = Scheduler(nodes)
        self._tasks: dict[str, Task] = {}
        self._done: dict[str, bytes] = {}
        self._outcomes: list[tuple[Callable[[Any], None], Any]] = []
        self._commands: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        self._woken = False
        self._heard = dict.fromkeys((node.name for node in nodes), time.monotonic())
        self._ready_nodes: set[str] = set()
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

    def submit(self, task: Task) -> None:
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
        self._loop.every(_HEARTBEAT_S, self._beat)
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
        for node in self._heard:
            self._socket.send(node, Shutdown())
        self._loop.stop()

    # --- tasks

    def _submitted(self, task: Task) -> None:
        self._tasks[task.name] = task
        self._record("task.submitted", **task.described)
        if not self._heard:
            lost = AgentLostError(f"task {task.name!r}: no node is left; open another session", task=task.name)
            self._fail(task, lost, 0.0)
            return
        self._prepare(task)
        for need in task.needs:
            if need not in self._tasks and need not in self._done:
                # What it needs had failed before it was submitted.
                self._end_unrun(task, f"{need!r}, which it needs, did not finish")
                return
        unfinished = [need for need in task.needs if need in self._tasks]
        if self._graph.add(task.name, unfinished, task.expected_s):
            self._ready(task)

    def _ready(self, task: Task) -> None:
        self._scheduler.add(task.name, task.demand, self._graph.rank_upward.get(task.name, 0.0))

    def _prepare(self, task: Task) -> None:
        """Have agents import what the task needs, while it still waits."""
        key = (task.profile, task.modules)
        if key not in self._prepared:
            self._prepared.add(key)
            for node in self._ready_nodes:
                self._socket.send(node, Prepare(*key))

    def _place(self) -> None:
        if not self._ready_nodes:
            return
        for placement in self._scheduler.place():
            self._run_on(placement)

    def _run_on(self, placement: Placement) -> None:
        task = self._tasks[placement.task]
        task.attempt += 1
        task.node = placement.node
        task.future.set_running_or_notify_cancel() if task.attempt == 1 else None
        self._socket.send(
            placement.node,
            RunGang(
                task=task.name,
                attempt=task.attempt,
                backend=task.backend,
                profile=task.profile,
                modules=task.modules,
                slots=placement.slots,
                gpus=placement.gpus,
                call=task.call,
                inputs={need: self._done[need] for need in task.needs},
                timeout_s=task.timeout_s,
                isolated=task.isolated,
                memory_bytes=task.demand.memory_bytes or None,
            ),
        )

    def _finished(self, message: GangFinished) -> None:
        task = self._tasks.get(message.task)
        if task is None or task.attempt != message.attempt:
            return
        self._scheduler.release(task.name)
        try:
            result, value = merged_result(message.results)
        except Exception as error:
            self._fail(
                task,
                DeepRCError(f"the result of task {task.name!r} cannot be read: {error}"),
                message.seconds,
            )
            return
        self._done[task.name] = result
        del self._tasks[task.name]
        for ready in self._graph.finish(task.name):
            self._ready(self._tasks[ready])
        self._record(
            "task.finished",
            task=task.name,
            attempt=task.attempt,
            seconds=round(message.seconds, 6),
            peak_memory_bytes=message.peak_memory_bytes,
            result=_short(value),
        )
        self._outcomes.append((task.future.set_result, value))

    def _gang_failed(self, message: GangFailed) -> None:
        task = self._tasks.get(message.task)
        if task is None or task.attempt != message.attempt:
            return
        self._scheduler.release(task.name)
        error = error_for(task.name, message.failure)
        will_retry = error.retryable and task.attempt <= task.retries
        self._record(
            "task.failed",
            task=task.name,
            attempt=task.attempt,
            seconds=round(message.seconds, 6),
            will_retry=will_retry,
            **failure_event(error, message.failure),
        )
        self._retry_or_end(task, error, will_retry)

    def _retry_or_end(self, task: Task, error: DeepRCError, will_retry: bool) -> None:
        if will_retry:
            task.node = None
            self._ready(task)
            return
        self.failed_tasks += 1
        self._lose(task, error, f"{task.name!r}, which it needs, failed: {str(error).splitlines()[0]}")

    def _fail(self, task: Task, error: DeepRCError, seconds: float) -> None:
        will_retry = error.retryable and task.attempt <= task.retries and bool(self._heard)
        self._scheduler.release(task.name)
        self._record(
            "task.failed",
            task=task.name,
            attempt=task.attempt,
            seconds=round(seconds, 6),
            error=type(error).__name__,
            message=str(error),
            will_retry=will_retry,
        )
        self._retry_or_end(task, error, will_retry)

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
        if task.node is not None:
            self._socket.send(task.node, CancelTask(name))
        self._record("task.cancelled", task=name, reason=reason)
        error = DependencyFailedError(f"task {name!r} was cancelled: {reason}", task=name)
        self._lose(task, error, f"{name!r}, which it needs, was cancelled: {reason}")

    # --- agents

    def _hear_agents(self) -> None:
        for node, message in self._socket.receive():
            self._heard[node] = time.monotonic()
            match message:
                case GangFinished():
                    self._finished(message)
                case GangFailed():
                    self._gang_failed(message)
                case GangStarted():
                    self._started(message)
                case JournalEvent():
                    self._record(message.kind, **message.fields)
                case Hello():
                    self._welcome(node)
        self._place()

    def _welcome(self, node: str) -> None:
        self._ready_nodes.add(node)
        for profile, modules in self._prepared:
            self._socket.send(node, Prepare(profile, modules))

    def _started(self, message: GangStarted) -> None:
        ranks = [vars(place) for place in message.ranks]
        self._record("task.started", task=message.task, attempt=message.attempt, ranks=ranks)

    def _beat(self) -> None:
        for node in self._ready_nodes:
            self._socket.send(node, Heartbeat())
        lost = dict(self._pilot.lost_nodes())
        for node in self._ready_nodes:
            silent_s = time.monotonic() - self._heard[node]
            if silent_s > _AGENT_SILENT_S:
                lost.setdefault(node, f"its agent has been silent for {silent_s:.0f} s")
        for node, why in lost.items():
            self._node_lost(node, why)

    def _node_lost(self, node: str, why: str) -> None:
        """Fail what ran there. With no node left, nothing that waits can ever run."""
        if node not in self._heard:
            return
        del self._heard[node]
        self._ready_nodes.discard(node)
        self._record("warning", message=f"node {node} is lost: {why}")
        for task in list(self._tasks.values()):
            if task.name in self._tasks and (task.node == node or not self._heard):
                self._fail(
                    task,
                    AgentLostError(f"task {task.name!r}: node {node} is lost: {why}", task=task.name),
                    0.0,
                )

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
