"""A run on one screen."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deeprc.cli.plain_text import columns, quantity, wrapped
from deeprc.report import formats

_MOST_TASKS = 12
_MOST_ROWS = 12
_MOST_INPUTS = 5
_MOST_FAILURES = 2
_LAST_LINES = 4
_LONGEST = 500
_ORDER = {"failed": 0, "running": 1, "cancelled": 2, "waiting": 3, "succeeded": 4}


def run_lines(described: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """The lines that tell a run, as `describe_run` gives it; `everything` shortens no list."""
    yield from _head(described)
    yield from _tasks(described["tasks"], sys.maxsize if everything else _MOST_TASKS)
    yield from _failures(described["failures"], sys.maxsize if everything else _MOST_FAILURES)
    yield from _metrics(described["metrics"], sys.maxsize if everything else _MOST_ROWS)
    yield from _inputs(described["inputs"], sys.maxsize if everything else _MOST_INPUTS)
    if described["warnings"]:
        shown = described["warnings"] if everything else described["warnings"][:2]
        yield f"Warnings: {len(described['warnings'])}"
        for warning in shown:
            yield from wrapped(warning, 2)
        yield from _more(len(described["warnings"]) - len(shown))


def _head(run: Mapping[str, Any]) -> Iterator[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run["started"]))
    yield f"{run['name'] or 'Run'}: {run['status']}, {when}, took {formats.seconds(run['seconds'])}"
    nodes = formats.count(run["nodes"], "node")
    names = ", ".join(run["node_names"][:4]) + (", ..." if run["nodes"] > 4 else "")
    where = f"{run['pilot']}, {nodes} ({names}), {formats.count(run['cores'], 'core')}"
    yield from wrapped(f"Where: {where}" if run["nodes"] else "Where: it has not got its nodes", 0, 7)
    yield f"Run:   {run['directory']}"
    if run["resumes"]:
        yield f"Resumes {run['resumes']}"


def _tasks(tasks: Mapping[str, Mapping[str, Any]], most: int) -> Iterator[str]:
    counts = Counter(task["status"] for task in tasks.values())
    told = ", ".join(f"{counts[status]} {status}" for status in _ORDER if counts[status])
    yield f"Tasks: {told or 'none'}"
    # What is wrong first, where not all have room.
    names = list(tasks) if len(tasks) <= most else sorted(tasks, key=lambda name: _ORDER[tasks[name]["status"]])
    rows: list[tuple[str, ...]] = [("task", "status", "seconds", "ranks", "attempts", "memory of a rank")]
    rows += [_task_row(name, tasks[name]) for name in names[:most]]
    if tasks:
        yield from columns(rows, right=(2, 3, 4, 5))
    yield from _more(len(tasks) - most)


def _task_row(name: str, task: Mapping[str, Any]) -> tuple[str, ...]:
    seconds, memory = task["seconds"], task["peak_memory_bytes"]
    return (
        name,
        task["status"],
        "" if seconds is None else f"{seconds:.2f}",
        str(task["ranks"]),
        str(task["attempts"]),
        "" if memory is None else formats.size(memory),
    )


def _failures(failures: Sequence[Mapping[str, Any]], most: int) -> Iterator[str]:
    final = sorted(failures, key=lambda failure: failure["will_retry"])
    for failure in final[:most]:
        yield from failure_lines(failure, _LAST_LINES)
    if len(failures) > most:
        yield f"  {len(failures) - most} more failures: --all"


def failure_lines(failure: Mapping[str, Any], last_lines: int) -> Iterator[str]:
    """What failed, the last lines that its traceback and its rank have, and where the log is."""
    again = ", and was tried again" if failure["will_retry"] else ""
    yield f"Failed: {failure['task']}, attempt {failure['attempt']}{again}"
    told = failure["traceback"] or failure["message"] or failure["error"]
    yield from (f"  {line[:_LONGEST]}" for line in told.splitlines()[-last_lines:])
    if failure["output"]:
        yield "  Last output:"
        yield from (f"    {line[:_LONGEST]}" for line in failure["output"].splitlines()[-last_lines:])
    if failure["log"]:
        yield f"  Log: {failure['log']}"


def _metrics(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]], most: int) -> Iterator[str]:
    for title, table in metrics.items():
        yield from wrapped(f"Metrics: {title}", 0, 9)
        names = list(dict.fromkeys(column for row in table.values() for column in row))
        rows = [["", *names]]
        rows += [[subject, *(quantity(row.get(name)) for name in names)] for subject, row in list(table.items())[:most]]
        yield from columns(rows, right=range(1, len(names) + 1))
        yield from _more(len(table) - most)


def _inputs(inputs: Sequence[Mapping[str, Any]], most: int) -> Iterator[str]:
    if inputs:
        total = formats.size(sum(item["bytes"] for item in inputs))
        yield f"Inputs: {formats.count(len(inputs), 'file')}, {total}; size and BLAKE2b fingerprint of each"
    for item in inputs[:most]:
        yield f"  {formats.size(item['bytes']):>8}  {item['blake2b'][:12]}  {item['path']}"
    yield from _more(len(inputs) - most)


def _more(number: int) -> Iterator[str]:
    if number > 0:
        yield f"  {number} more: --all"
