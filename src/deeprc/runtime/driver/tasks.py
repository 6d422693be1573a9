"""The tasks of a session that have not ended: what they wait for, and what becomes of them. Does no I/O of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from deeprc.errors import AgentLostError, DeepRCError, DependencyFailedError, ResourceError, TaskStoppedError
from deeprc.runtime.driver.flight import Flight
from deeprc.runtime.driver.future import Future
from deeprc.runtime.driver.graph import Graph
from deeprc.runtime.driver.liveness import Liveness
from deeprc.runtime.driver.results import Reused
from deeprc.runtime.driver.scheduler import Demand, Scheduler
from deeprc.runtime.link.messages import PickledFunction, Profile

Record = Callable[..., None]
# In place of what the journal has been told of a task: tasks wait by the hundred thousand.
_TOLD: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True)
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
    # How often a rank has died in MPI_Init.
    unjoined: int = 0
    flight: Flight | None = None
    # An earlier run's result, and who keeps this one's.
    reused: Reused | None = None
    keep: Callable[[str, bytes, float], None] | None = None
    described: Mapping[str, Any] = field(default_factory=lambda: _TOLD)

    @property
    def kind(self) -> object:
        """What tasks that take about as long have in common."""
        return self.function.key


class Tasks:
    """Unfinished tasks by name.

    A task that ends is gone from here at once; whoever waits for it hears of it by `tell`, once the journal has it.
    """

    def __init__(self, scheduler: Scheduler, liveness: Liveness, record: Record) -> None:
        self._scheduler = scheduler
        self._liveness = liveness
        self._record = record
        self._graph = Graph()
        self._unfinished: dict[str, Task] = {}
        self._outcomes: list[tuple[Callable[[Any], None], Any]] = []
        # What has ended the driver.
        self._defect: BaseException | None = None
        self.failed = 0
        self.stopped = 0

    def __contains__(self, name: str) -> bool:
        return name in self._unfinished

    def __getitem__(self, name: str) -> Task:
        return self._unfinished[name]

    def get(self, name: str) -> Task | None:
        return self._unfinished.get(name)

    def all(self) -> list[Task]:
        """All that are unfinished now; may be called from any thread."""
        return list(self._unfinished.values())

    def add(self, task: Task) -> None:
        """Take a task on; may be called from any thread. Nothing happens to it before `enter`."""
        self._unfinished[task.name] = task
        if self._defect is not None:
            self.abandon(self._defect)

    def enter(self, task: Task) -> bool:
        """Let a task wait for what it needs; False if it has ended at once instead."""
        self._record("task.submitted", **task.described)
        task.described = _TOLD
        if task.reused is not None:
            self._use_again(task, task.reused)
            return False
        if self.is_impossible(task):
            return False
        for need in task.needs:
            if need.packed is None and need.task not in self._unfinished:
                # What it needs had failed before it was submitted.
                self._end_unrun(task, f"{need.task!r}, which it needs, did not finish")
                return False
        unfinished = [need.task for need in task.needs if need.packed is None]
        if self._graph.add(task.name, unfinished, task.expected_s):
            self.ready(task)
        return True

    def ready(self, task: Task) -> None:
        """Have a task placed, as soon as it fits."""
        path_s = self._graph.rank_upward.get(task.name, 0.0)
        self._scheduler.add(task.name, task.demand, path_s, priority=task.priority, arrived_s=time.monotonic())

    def again(self, task: Task) -> None:
        """Have another attempt made, if the nodes that are left can hold it."""
        task.flight = None
        if not self.is_impossible(task):
            self.ready(task)

    def is_impossible(self, task: Task) -> bool:
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
            self.fail(task, AgentLostError(f"task {task.name!r}: {why}", task=task.name))
        return bool(why)

    def finish(self, task: Task, result: bytes, value: Any, flight: Flight) -> None:
        """End a task that has a result, and let go what waited for it."""
        task.future.packed = result
        del self._unfinished[task.name]
        seconds = round(flight.seconds, 6)
        if task.keep is not None:
            task.keep(task.name, result, seconds)
        for name in self._graph.finish(task.name):
            self.ready(self._unfinished[name])
        self._record(
            "task.finished",
            task=task.name,
            attempt=task.attempt,
            seconds=seconds,
            peak_memory_bytes=flight.peak_memory_bytes,
            result=_short(value),
            **flight.clock,
        )
        self._outcomes.append((task.future.set_result, value))

    def fail(self, task: Task, error: DeepRCError) -> None:
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
        self.end_failed(task, error)

    def end_failed(self, task: Task, error: DeepRCError) -> None:
        """End a task whose failure is on record, and cancel what needs it."""
        self.failed += 1
        self._lose(task, error, f"{task.name!r}, which it needs, failed: {str(error).splitlines()[0]}")

    def cancel(self, task: Task, reason: str) -> None:
        """End a task that is not wanted any more, and cancel what needs it."""
        self._record("task.cancelled", task=task.name, reason=reason)
        error = DependencyFailedError(f"task {task.name!r} was cancelled: {reason}", task=task.name)
        self._lose(task, error, f"{task.name!r}, which it needs, was cancelled: {reason}")

    def stop(self, task: Task, reason: str) -> None:
        """End a task that is left to a run that resumes this one, and what needs it."""
        self.stopped += 1
        self._record("task.cancelled", task=task.name, reason=reason)
        error = TaskStoppedError(f"task {task.name!r}: {reason}", task=task.name)
        self._lose(task, error, f"{task.name!r}, which it needs, was not finished: {reason}")

    def tell(self) -> None:
        """Tell those who wait of the tasks that have ended."""
        outcomes, self._outcomes = self._outcomes, []
        for tell, outcome in outcomes:
            tell(outcome)

    def abandon(self, error: BaseException) -> None:
        """Tell all who wait that nothing will come any more, now and from now on."""
        self._defect = error
        self.tell()
        for task in self.all():
            if not task.future.done():
                lost = AgentLostError(f"task {task.name!r}: the driver failed: {error!r}", task=task.name)
                task.future.set_exception(lost)

    def _use_again(self, task: Task, reused: Reused) -> None:
        """End a task with the result that an earlier run has kept."""
        task.future.packed = reused.packed
        del self._unfinished[task.name]
        if task.keep is not None:
            task.keep(task.name, reused.packed, reused.seconds)
        self._record("task.reused", task=task.name, run=reused.run, result=_short(reused.value))
        self._outcomes.append((task.future.set_result, reused.value))

    def _lose(self, task: Task, error: BaseException, reason: str) -> None:
        del self._unfinished[task.name]
        for dependent, _ in self._graph.fail(task.name):
            self._scheduler.drop(dependent)
            self._end_unrun(self._unfinished[dependent], reason)
        self._outcomes.append((task.future.set_exception, error))

    def _end_unrun(self, task: Task, reason: str) -> None:
        del self._unfinished[task.name]
        self._record("task.cancelled", task=task.name, reason=reason)
        error = DependencyFailedError(f"task {task.name!r} was cancelled: {reason}", task=task.name)
        self._outcomes.append((task.future.set_exception, error))


def _short(value: Any) -> str:
    try:
        text = str(value)
    except BaseException:
        # The user's own code, in the driver's thread.
        return f"<{type(value).__name__}>"
    if text.startswith("shape: ("):
        # A frame: its rows tell nothing in so little room.
        text = text.partition("\n")[0]
    return text if len(text) <= 200 else f"{text[:197]}..."
