"""Events put together again: what became of each task, attempt by attempt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from deeprc.journal import RunRecord
from deeprc.journal.events import Event

Status = Literal["succeeded", "failed", "cancelled", "running", "waiting"]
Outcome = Literal["succeeded", "failed", "cancelled", "running"]


@dataclass(frozen=True)
class Place:
    """Where one rank of an attempt ran; `slot` numbers the node's cores."""

    rank: int
    node: str
    slot: int


@dataclass(frozen=True)
class Attempt:
    """One try of a task; times are seconds since the epoch, `ended` is None while it runs."""

    number: int
    started: float
    places: tuple[Place, ...] = ()
    ended: float | None = None
    seconds: float | None = None
    outcome: Outcome = "running"
    failure: Event | None = None


@dataclass(frozen=True)
class Task:
    """A task and what became of it; `closed` is when it finished, failed for good or was cancelled."""

    name: str
    function: str = ""
    ranks: int = 1
    backend: str = ""
    needs: tuple[str, ...] = ()
    submitted: float | None = None
    attempts: tuple[Attempt, ...] = ()
    closed: float | None = None
    reason: str = ""
    result: str = ""
    peak_memory_bytes: int | None = None
    reused_from: str = ""
    progress: Event | None = None

    @property
    def status(self) -> Status:
        if self.reason:
            return "cancelled"
        if self.reused_from:
            return "succeeded"
        if not self.attempts:
            return "waiting"
        last = self.attempts[-1]
        if last.failure is not None and last.failure.get("will_retry"):
            return "waiting"
        return last.outcome

    @property
    def group(self) -> str:
        """What the timeline colours by: the function, or the first word of the name without one."""
        return self.function or re.split(r"[._\-]", self.name)[0]

    @property
    def seconds(self) -> float | None:
        """How long the last attempt ran, in s; None before it ended."""
        return self.attempts[-1].seconds if self.attempts else None


def tasks_of(run: RunRecord) -> dict[str, Task]:
    """Every task that the journal speaks of, in the order of submission."""
    tasks: dict[str, Task] = {}
    for event in run.of_kind(*_STEPS):
        name = event.get("task")
        if name is not None:
            tasks[name] = _STEPS[event["kind"]](tasks.get(name) or Task(name), event)
    return tasks


def ready_at(task: Task, tasks: Mapping[str, Task]) -> float | None:
    """When the last of a task's inputs was there: from then on it waited for ranks only."""
    moments = [task.submitted, *(tasks[name].closed for name in task.needs if name in tasks)]
    known = [moment for moment in moments if moment is not None]
    return max(known) if known and len(known) == len(moments) else None


def queued_seconds(task: Task, tasks: Mapping[str, Task]) -> float | None:
    """How long a task was ready but had no ranks, in s; None if it never started."""
    ready = ready_at(task, tasks)
    if ready is None or not task.attempts:
        return None
    return max(0.0, task.attempts[0].started - ready)


def last_moment(run: RunRecord) -> float:
    """Time of the last event: as far as the journal knows, now."""
    return max((float(event["time"]) for event in run.events), default=0.0)


def _submitted(task: Task, event: Event) -> Task:
    return replace(
        task,
        function=str(event.get("function") or ""),
        ranks=int(event.get("ranks") or 1),
        backend=str(event.get("backend") or ""),
        needs=tuple(event.get("needs") or ()),
        submitted=event["time"],
    )


def _started(task: Task, event: Event) -> Task:
    places = tuple(
        Place(int(place.get("rank", 0)), str(place.get("node", "")), int(place.get("slot") or 0))
        for place in event.get("ranks") or ()
    )
    number = int(event.get("attempt") or len(task.attempts) + 1)
    return replace(task, attempts=(*task.attempts, Attempt(number, event["time"], places)))


def _ended(task: Task, event: Event, outcome: Outcome) -> Task:
    """Close the attempt that runs; one that failed before it started gets an attempt of its own."""
    running = task.attempts[-1] if task.attempts and task.attempts[-1].ended is None else None
    begun = running or Attempt(
        int(event.get("attempt") or len(task.attempts) + 1), event["time"] - float(event.get("seconds") or 0)
    )
    closed = replace(
        begun,
        ended=event["time"],
        seconds=float(event.get("seconds") or event["time"] - begun.started),
        outcome=outcome,
        failure=event if outcome == "failed" else None,
    )
    earlier = task.attempts[:-1] if running else task.attempts
    return replace(task, attempts=(*earlier, closed))


def _finished(task: Task, event: Event) -> Task:
    done = _ended(task, event, "succeeded")
    return replace(
        done,
        closed=event["time"],
        result=str(event.get("result") or ""),
        peak_memory_bytes=event.get("peak_memory_bytes"),
    )


def _reused(task: Task, event: Event) -> Task:
    return replace(task, closed=event["time"], result=str(event.get("result") or ""), reused_from=str(event["run"]))


def _failed(task: Task, event: Event) -> Task:
    failed = _ended(task, event, "failed")
    return failed if event.get("will_retry") else replace(failed, closed=event["time"])


def _cancelled(task: Task, event: Event) -> Task:
    if task.attempts and task.attempts[-1].ended is None:
        task = _ended(task, event, "cancelled")
    return replace(task, closed=event["time"], reason=str(event.get("reason") or "no reason was recorded"))


def _progressed(task: Task, event: Event) -> Task:
    return replace(task, progress=event)


_STEPS = {
    "task.submitted": _submitted,
    "task.started": _started,
    "task.finished": _finished,
    "task.reused": _reused,
    "task.failed": _failed,
    "task.cancelled": _cancelled,
    "progress": _progressed,
}
