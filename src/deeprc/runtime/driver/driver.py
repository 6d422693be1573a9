"""The driver: a thread of the session's process that takes its commands and speaks with the agents."""

from __future__ import annotations

import contextlib
import socket
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from deeprc.journal import JournalWriter
from deeprc.runtime.driver.attempts import Attempts
from deeprc.runtime.driver.driver_socket import DriverSocket
from deeprc.runtime.driver.future import Future
from deeprc.runtime.driver.liveness import Liveness
from deeprc.runtime.driver.scheduler import Demand, Scheduler
from deeprc.runtime.driver.tasks import Task, Tasks
from deeprc.runtime.link.lease import HEARTBEAT_S
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.messages import Heartbeat, Hello, JournalEvent, Prepare, Profile, Shutdown, StopSoon
from deeprc.runtime.pilot import Node, Pilot

Listener = Callable[[dict[str, Any]], None]


class Driver:
    """Runs tasks on the nodes of a pilot. Its public methods may be called from any thread.

    `memory_bytes` is what the tables of each node's ranks are to stay within together, where the user said so.
    """

    def __init__(
        self,
        pilot: Pilot,
        agents: DriverSocket,
        nodes: list[Node],
        journal: JournalWriter,
        memory_bytes: int | None = None,
    ) -> None:
        self._pilot = pilot
        self._socket = agents
        self._journal = journal
        self._loop = Loop()
        self._scheduler = Scheduler(nodes, all_open=False)
        self._liveness = Liveness([node.name for node in nodes])
        self._tasks = Tasks(self._scheduler, self._liveness, self._record)
        self._attempts = Attempts(
            nodes, self._tasks, self._scheduler, self._liveness, self._loop, self._send, self._record, memory_bytes
        )
        self._commands: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = socket.socketpair()
        self._woken = False
        self._pilot_is_blind = False
        # Why no more tasks are started.
        self._stops = ""
        self._prepared: set[tuple[Profile, tuple[str, ...]]] = set()
        self._listeners: list[Listener] = []
        self._thread = threading.Thread(target=self._run, name="deeprc-driver", daemon=True)

    @property
    def failed_tasks(self) -> int:
        return self._tasks.failed

    @property
    def stopped_tasks(self) -> int:
        return self._tasks.stopped

    def start(self) -> None:
        self._thread.start()

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def check(self, demand: Demand) -> None:
        """Refuse what the allocation can never give (ResourceError)."""
        self._scheduler.check(demand)

    def unfinished(self) -> list[Future]:
        """The futures of all tasks that have been submitted and have not ended."""
        return [task.future for task in self._tasks.all()]

    def submit(self, task: Task) -> None:
        self._tasks.add(task)
        self._call(lambda: self._submitted(task))

    def cancel(self, name: str, reason: str) -> None:
        self._call(lambda: self._cancelled(name, reason))

    def stop(self, reason: str, within_s: float) -> None:
        """Start no more tasks, tell those that run, and end them after so many seconds."""
        self._call(lambda: self._stop(reason, within_s))

    def record(self, kind: str, **fields: Any) -> None:
        self._call(lambda: self._record(kind, **fields))

    def close(self, timeout_s: float = 10.0) -> None:
        """End every agent and this thread; what has not ended by then is ended by the pilot."""
        self._call(self._shut_down)
        self._thread.join(timeout_s)
        self._wake_write.close()
        self._wake_read.close()

    def _call(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        if not self._woken:
            self._woken = True
            # Closed, it takes nothing: a signal handler or a thread of the session's may come late.
            with contextlib.suppress(OSError):
                self._wake_write.send(b"\0")

    def _run(self) -> None:
        try:
            self._loop.watch(self._wake_read.fileno(), self._obey)
            self._socket.serve(self._loop, self._hear_agents)
            self._loop.every(HEARTBEAT_S, self._beat)
            self._loop.after_turn(self._end_turn)
            self._loop.run()
        except BaseException as error:
            # A defect of ours must not leave users waiting for ever.
            self._tasks.abandon(error)
            raise
        finally:
            self._socket.close()

    def _obey(self) -> None:
        self._wake_read.recv(4096)
        # Before the commands are looked at: one that comes later wakes us again.
        self._woken = False
        while self._commands:
            self._commands.popleft()()
        self._place()

    def _end_turn(self) -> None:
        """Send and write what the turn has led to; what users are told of is in the journal by then."""
        self._socket.flush()
        self._journal.flush()
        self._tasks.tell()

    def _stop(self, reason: str, within_s: float) -> None:
        if self._stops:
            return
        self._stops = reason
        self._record("warning", message=f"the run stops: {reason}; what runs has {within_s:.0f} s to write checkpoints")
        self._send(self._liveness.nodes, StopSoon())
        self._loop.later(within_s, lambda: self._leave(self._tasks.all(), "it had not stopped by itself in time"))

    def _place(self) -> None:
        """Start what fits; once the run stops, leave all that does not run to a later one."""
        if self._stops:
            self._leave([task for task in self._tasks.all() if task.flight is None], self._stops)
        else:
            self._attempts.place()

    def _leave(self, tasks: Iterable[Task], reason: str) -> None:
        for task in tasks:
            # Gone, if it needed one before it.
            if task.name in self._tasks:
                self._attempts.cancel(task)
                self._tasks.stop(task, reason)

    def _shut_down(self) -> None:
        self._send(self._liveness.nodes, Shutdown())
        self._loop.stop()

    def _submitted(self, task: Task) -> None:
        # It is gone if the last node was lost meanwhile.
        if task.name in self._tasks and self._tasks.enter(task):
            self._prepare(task)

    def _prepare(self, task: Task) -> None:
        """Have agents import what the task needs, while it still waits."""
        key = (task.profile, task.modules)
        if key not in self._prepared:
            self._prepared.add(key)
            self._send(self._liveness.ready, Prepare(*key))

    def _cancelled(self, name: str, reason: str) -> None:
        task = self._tasks.get(name)
        if task is not None:
            self._attempts.cancel(task)
            self._tasks.cancel(task, reason)

    def _send(self, nodes: Iterable[str], message: Any) -> None:
        for node in nodes:
            self._socket.send(node, message)

    def _hear_agents(self, messages: list[tuple[str, Any]]) -> None:
        for node, message in messages:
            if not self._liveness.heard(node):
                # Given up as lost: what ran there has been ended or started elsewhere.
                self._socket.send(node, Shutdown())
                continue
            match message:
                case JournalEvent():
                    self._record(message.kind, **message.fields)
                case Hello():
                    self._welcome(node)
                    self._attempts.plain_mpi |= message.plain_mpi
                case Heartbeat():
                    self._liveness.clocks[node] = message.sent_s
                case _:
                    self._attempts.hear(node, message)
        self._place()

    def _welcome(self, node: str) -> None:
        self._liveness.ready.add(node)
        self._renew_lease(node)
        self._scheduler.open(node)
        for profile, modules in self._prepared:
            self._socket.send(node, Prepare(profile, modules))

    def _renew_lease(self, node: str) -> None:
        if node in self._liveness.clocks:
            self._socket.send(node, Heartbeat(self._liveness.clocks[node]))

    def _beat(self) -> None:
        for node in self._liveness.ready:
            self._renew_lease(node)
        for node, why in {**self._liveness.silent(), **self._lost_to_pilot()}.items():
            if self._liveness.lost(node):
                self._record("warning", message=f"node {node} is lost: {why}")
                self._attempts.node_lost(node, why)
        self._place()

    def _lost_to_pilot(self) -> dict[str, str]:
        """What the pilot says; where it cannot, agents show by their heartbeats whether they live."""
        try:
            return self._pilot.lost_nodes()
        except Exception as error:
            if not self._pilot_is_blind:
                self._pilot_is_blind = True
                name = type(self._pilot).__name__
                self._record("warning", message=f"{name} cannot say whether nodes are lost: {error!r}")
            return {}

    def _record(self, kind: str, **fields: Any) -> None:
        event = self._journal.append(kind, **fields)
        for listener in self._listeners:
            try:
                listener(event)
            except BaseException:
                # A listener only watches: it must not stop the run.
                traceback.print_exc()
