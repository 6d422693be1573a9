"""The run in one JSON object: what `summary.json` holds."""

from __future__ import annotations

from typing import Any

from deeprc.journal import MetricTable, RunRecord
from deeprc.report.results import results_of
from deeprc.report.tasks import Task, queued_seconds, tasks_of
from deeprc.report.verdict import verdict_of


def summarise(run: RunRecord) -> dict[str, Any]:
    """Sum a run up for other programs. Keys:

    - `run`, `name`, `status` ("succeeded", "failed", "interrupted", "unfinished"), `started` (s since the epoch),
      `seconds`, `pilot`, `nodes`, `cores`, `ranks_started`
    - `metrics`: {table title: {row: {column: number or null}}}, tables of one title merged
    - `tasks`: {name: {`status`, `seconds`, `queued_seconds`, `ranks`, `backend`, `attempts`,
      `peak_memory_bytes` (the most one rank held; null where it is not known)}}
    - `bytes_shared`, `bytes_copied`, `bytes_exchanged` (sent by ranks to other ranks)
    """
    verdict = verdict_of(run)
    tasks = tasks_of(run)
    metrics: dict[str, dict[str, dict[str, float | None]]] = {}
    for table in results_of(run).metrics:
        metrics.setdefault(table.title, {}).update(metric_rows(table))
    return {
        "run": verdict.run,
        "name": verdict.name,
        "status": verdict.status,
        "started": verdict.started,
        "seconds": verdict.seconds,
        "pilot": verdict.pilot,
        "nodes": verdict.nodes,
        "cores": verdict.cores,
        "ranks_started": verdict.ranks_started,
        "metrics": metrics,
        "tasks": {name: _task(task, tasks) for name, task in tasks.items()},
        "bytes_shared": transferred_bytes(run, "shared"),
        "bytes_copied": transferred_bytes(run, "copied"),
        "bytes_exchanged": sum(int(event.get("bytes_sent") or 0) for event in run.of_kind("exchange")),
    }


def metric_rows(table: MetricTable) -> dict[str, dict[str, float | None]]:
    """A metric table as {row: {column: value}}; values that a short row lacks are left out."""
    return {subject: dict(zip(table.columns, values, strict=False)) for subject, values in table.rows.items()}


def transferred_bytes(run: RunRecord, mode: str) -> int:
    """Bytes that went from datasets to a framework "shared" or "copied"."""
    return sum(int(event.get("bytes") or 0) for event in run.of_kind("transfer") if event.get("mode") == mode)


def _task(task: Task, tasks: dict[str, Task]) -> dict[str, Any]:
    return {
        "status": task.status,
        "seconds": task.seconds,
        "queued_seconds": queued_seconds(task, tasks),
        "ranks": task.ranks,
        "backend": task.backend,
        "attempts": len(task.attempts),
        "peak_memory_bytes": task.peak_memory_bytes,
    }
