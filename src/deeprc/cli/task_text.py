"""One task of a run: what it was given, what became of it, where its output is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deeprc.cli.plain_text import wrapped
from deeprc.cli.progress import Progress
from deeprc.cli.run_text import failure_lines
from deeprc.journal.events import Event
from deeprc.report import formats

_ALL_LINES = 1000


def task_lines(described: Mapping[str, Any], events: Iterable[Event]) -> Iterator[str]:
    """The lines that tell a task, as `describe_task` gives it, with the events of its run."""
    yield f"{described['task']} of run {described['run']}: {described['status']}"
    yield f"Function: {described['function']}"
    yield from _arguments(described)
    if described["needs"]:
        yield from wrapped(f"Needs: {', '.join(described['needs'])}", 0, 7)
    yield from _asked(described)
    yield "Events (seconds since the run began):"
    yield from _events(described["task"], events)
    for failure in described["failures"]:
        yield from failure_lines(failure, _ALL_LINES)
    if described["result"]:
        yield f"Result: {described['result']}"
    for item in described["inputs"]:
        yield f"Input: {item['path']} ({formats.size(item['bytes'])}, BLAKE2b {item['blake2b']})"
    for log in described["logs"]:
        yield f"Log: {log}"


def _arguments(described: Mapping[str, Any]) -> Iterator[str]:
    if described["kwargs"] is None:
        yield "Arguments: not kept; they are in the script that made the run"
        return
    values = {str(number): value for number, value in enumerate(described["args"], 1)} | described["kwargs"]
    yield "Arguments:" if values else "Arguments: none"
    for name, value in values.items():
        yield from wrapped(f"{name}: {json.dumps(value, ensure_ascii=False)}", 2, 4)


def _asked(described: Mapping[str, Any]) -> Iterator[str]:
    asked = {name: value for name, value in (described["resources"] or {}).items() if value not in (None, False, 0)}
    asked["comm"] = described["backend"] or asked.get("comm", "")
    yield from wrapped("Asked for: " + ", ".join(f"{name} {value}" for name, value in asked.items()), 0, 2)
    if described["peak_memory_bytes"] is not None:
        yield f"Memory: {formats.size(described['peak_memory_bytes'])} at the most, of one rank"


def _events(task: str, events: Iterable[Event]) -> Iterator[str]:
    progress = Progress()
    for event in events:
        line = progress.update(event)
        if event.get("task") == task and (text := _told(event, line)):
            text = text.removeprefix(f"{task}: ")
            yield from wrapped(f"{event['time'] - progress.started:9.2f}  {text}", 0, 11)


def _told(event: Event, line: str | None) -> str | None:
    """An event in words; `line` is what a run that goes on would print of it."""
    match event["kind"]:
        case "task.submitted":
            return "submitted"
        case "artifact":
            return f"left a {event.get('type')}: {event.get('path')}"
        case "checkpoint":
            return f"uses checkpoints: {event.get('path')}"
    return line
