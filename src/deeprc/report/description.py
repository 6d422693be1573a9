"""A run, or one of its tasks, in plain data: what `deeprc show` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deeprc.errors import JournalError, valid_values
from deeprc.journal import RunRecord
from deeprc.journal.events import Event
from deeprc.report.provenance import inputs_of, readers_of
from deeprc.report.summary import summarise
from deeprc.report.tasks import Attempt, Task, tasks_of


def describe_run(run: RunRecord) -> dict[str, Any]:
    """What `summarise` says, and besides it: `directory`, `resumes`, `node_names`, `inputs`, `failures`, `warnings`.

    Each of `failures` is an attempt that failed: `task`, `attempt`, `will_retry`, `error`, `message`, `traceback`,
    `output` (its rank's last lines) and `log`, a path or "".
    """
    start = run.first("run.started") or {}
    return {
        **summarise(run),
        "directory": str(run.directory),
        "resumes": str(start.get("resumes") or ""),
        "node_names": [str(node.get("name")) for node in start.get("nodes") or ()],
        "inputs": inputs_of(run),
        "failures": [_failure(run, event) for event in run.of_kind("task.failed")],
        "warnings": [_warning(event) for event in run.of_kind("warning")],
    }


def describe_task(run: RunRecord, name: str) -> dict[str, Any]:
    """One task. `args` and `kwargs` are null where the run was a script's, whose arguments are not kept.

    Raises:
        JournalError: the run has no such task; names those it has.
    """
    tasks = tasks_of(run)
    if name not in tasks:
        raise JournalError(f"run {run.directory.name} has no task {name!r}. {valid_values(name, tasks, noun='task')}")
    task, spec, readers = tasks[name], spec_tasks(run).get(name, {}), readers_of(run)
    return {
        "task": name,
        "run": run.directory.name,
        "status": task.status,
        "function": str(spec.get("function") or task.function),
        "args": spec.get("args"),
        "kwargs": spec.get("kwargs"),
        "resources": spec.get("resources"),
        "needs": list(task.needs),
        "backend": task.backend,
        "attempts": [_attempt(attempt) for attempt in task.attempts],
        "peak_memory_bytes": task.peak_memory_bytes,
        "result": task.result,
        "reused_from": task.reused_from,
        "reason": task.reason,
        "inputs": [item for item in inputs_of(run) if name in readers[item["path"]]],
        "failures": [_failure(run, event) for event in run.of_kind("task.failed") if event.get("task") == name],
        "logs": list(dict.fromkeys(_logs(run, task))),
        "events": [event for event in run.events if event.get("task") == name],
    }


def spec_tasks(run: RunRecord) -> dict[str, dict[str, Any]]:
    """The tasks of the frozen spec by name, as a pipeline or a script's session has written them."""
    return {str(task.get("name")): task for task in run.spec.get("tasks") or ()}


def _failure(run: RunRecord, event: Event) -> dict[str, Any]:
    log = event.get("log")
    texts = {name: str(event.get(name) or "").rstrip() for name in ("task", "error", "message", "traceback", "output")}
    return {
        **texts,
        "attempt": int(event.get("attempt") or 1),
        "will_retry": bool(event.get("will_retry")),
        "log": str(run.directory / log) if log else "",
    }


def _warning(event: Event) -> str:
    where = f"{event['task']}: " if event.get("task") else ""
    return f"{where}{event.get('message', '')}"


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "outcome": attempt.outcome,
        "started": attempt.started,
        "seconds": attempt.seconds,
        "ranks": [{"rank": place.rank, "node": place.node, "slot": place.slot} for place in attempt.places],
    }


def _logs(run: RunRecord, task: Task) -> Iterator[str]:
    """The logs of the ranks that ran a task; a rank's log has all the tasks it served."""
    logs = {(event.get("node"), event.get("pid")): event.get("log") for event in run.of_kind("rank.started")}
    for event in run.of_kind("task.started"):
        if event.get("task") == task.name:
            for rank in event.get("ranks") or ():
                log = logs.get((rank.get("node"), rank.get("pid")))
                if log:
                    yield str(run.directory / log)
