"""The state of a run, told by its events: what the live view shows and the plain one says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from deeprc.journal.events import Event

Status = Literal["waiting", "running", "retrying", "succeeded", "failed", "cancelled"]


@dataclass
class TaskProgress:
    """One task so far; times in seconds since the epoch, `fraction` from 0 to 1 once the task has told."""

    name: str
    ranks: int = 1
    status: Status = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    attempt: int = 1
    fraction: float | None = None
    message: str = ""
    traceback: str = ""
    output: str = ""
    log: str = ""
    # Of a failure, all lines; `message` is the first.
    reason: str = ""


@dataclass
class Progress:
    """All tasks by name, in the order submitted; fed with events, it keeps no clock and prints nothing."""

    tasks: dict[str, TaskProgress] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    started: float = 0.0
    status: str = "running"

    @property
    def all_succeeded(self) -> bool:
        """Every task has ended, and well."""
        return all(task.status == "succeeded" for task in self.tasks.values())

    def count(self, *statuses: Status) -> int:
        """Number of tasks in one of these states."""
        return sum(task.status in statuses for task in list(self.tasks.values()))

    def update(self, event: Event) -> str | None:
        """Take one event in; return the line that tells it, or None if it is not worth one."""
        self.started = self.started or event["time"]
        handler = getattr(self, f"_{event['kind'].replace('.', '_')}", None)
        told: str | None = handler(event) if handler else None
        return told

    def _task(self, event: Event) -> TaskProgress:
        return self.tasks.setdefault(event["task"], TaskProgress(event["task"]))

    def _run_finished(self, event: Event) -> str:
        self.status = event["status"]
        return f"run {event['status']} after {event['seconds']:.1f} s"

    def _zygote_started(self, event: Event) -> str:
        if event.get("warning"):
            self.warnings.append(f"{event.get('node')}: {event['warning']}")
        return f"{event.get('node')}: ready for {event.get('profile')} after {event.get('import_seconds') or 0.0:.1f} s"

    def _task_submitted(self, event: Event) -> None:
        self._task(event).ranks = event.get("ranks", 1)

    def _task_started(self, event: Event) -> str:
        task = self._task(event)
        task.status, task.started, task.attempt = "running", event["time"], event.get("attempt", 1)
        task.fraction, task.message = None, ""
        again = f", attempt {task.attempt}" if task.attempt > 1 else ""
        return f"{task.name}: started on {ranks_text(len(event.get('ranks', [0])))}{again}"

    def _progress(self, event: Event) -> None:
        # One rank speaks for the task; the others say much the same.
        task = self._task(event)
        if event.get("rank", 0) == 0:
            total = event.get("total") or 0
            task.fraction = min(max(event["done"] / total, 0.0), 1.0) if total else None
            task.message = str(event.get("message", ""))

    def _task_finished(self, event: Event) -> str:
        task = self._task(event)
        task.status, task.seconds = "succeeded", event["seconds"]
        # In one line: a result's own text may have many.
        task.message = " ".join(str(event.get("result") or "").split())
        return f"{task.name}: succeeded in {task.seconds:.1f} s"

    def _task_reused(self, event: Event) -> str:
        task = self._task(event)
        task.status = "succeeded"
        task.message = f"reused from run {event['run']}"
        return f"{task.name}: {task.message}"

    def _task_failed(self, event: Event) -> str:
        task = self._task(event)
        task.status = "retrying" if event.get("will_retry") else "failed"
        task.seconds = event.get("seconds") or 0.0
        task.message = failure_text(event, task.ranks)
        task.traceback, task.output = event.get("traceback") or "", event.get("output") or ""
        task.log, task.reason = event.get("log") or "", str(event.get("message") or "")
        see = f" (see {task.log})" if task.log else ""
        outcome = "failed, will be tried again" if event.get("will_retry") else "failed"
        return f"{task.name}: {outcome}: {task.message}{see}"

    def _task_cancelled(self, event: Event) -> str:
        task = self._task(event)
        task.status, task.message = "cancelled", str(event.get("reason", ""))
        return f"{task.name}: cancelled: {task.message}"

    def _warning(self, event: Event) -> str:
        where = f"{event['task']}: " if event.get("task") else ""
        self.warnings.append(f"{where}{event.get('message', '')}")
        return f"warning: {self.warnings[-1]}"


def failure_text(event: dict[str, Any], ranks: int) -> str:
    """The error, and which of several ranks it struck, in one line."""
    text = str(event.get("message") or event.get("error") or "no reason given").strip().splitlines()[0]
    if ranks > 1 and event.get("rank") is not None:
        return f"rank {event['rank']} on {event.get('node') or 'its node'}: {text}"
    return text


def ranks_text(number: int) -> str:
    """ "1 rank", "2 ranks"."""
    return f"{number} rank{'' if number == 1 else 's'}"
