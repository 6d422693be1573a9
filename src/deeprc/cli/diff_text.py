"""Two runs side by side: only what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deeprc.cli.plain_text import columns, quantity, shortened, wrapped
from deeprc.report import formats

_MOST_NAMES = 4
_MOST_ROWS = 30
_LONG = 48
_REASONS = 6


def diff_lines(compared: Mapping[str, Any]) -> Iterator[str]:
    """The lines that tell what `compare` found."""
    for side in "ab":
        run = compared[side]
        yield f"{side.upper()}: {run['name'] or 'run'}, {run['status']}, {run['directory']}"
    went_in = [*_spec(compared), *_environment(compared), *_inputs(compared["inputs"])]
    yield from went_in or ["What went in: the same (tasks, arguments, input files, packages, machine)"]
    if compared["code_unknown"]:
        some = _names(compared["code_unknown"])
        yield from wrapped(f"Code: not known of {some}: no result of theirs was kept in both runs", 0, 2)
    yield from came_out_lines(compared)
    if compared["seconds"]:
        yield "Seconds of tasks:"
        yield from _table(["task"], [((name,), pair) for name, pair in compared["seconds"].items()])


def came_out_lines(compared: Mapping[str, Any]) -> Iterator[str]:
    """Metrics, results and states of tasks that differ, and why; one line if none does."""
    for title, table in compared["metrics"].items():
        yield from wrapped(f"Metrics: {title}", 0, 9)
        cells = [((row, column), pair) for row, columns_ in table.items() for column, pair in columns_.items()]
        yield from _table(["row", "column"], cells)
    for what, told in (("status", "Status of tasks:"), ("results", "Results of tasks:")):
        if compared[what]:
            yield told
            yield from _table(["task"], [((name,), pair) for name, pair in compared[what].items()])
    if not (compared["metrics"] or compared["status"] or compared["results"]):
        yield "What came out: the same (metrics, results, status of tasks)"
    if compared["causes"]:
        yield "Why, as far as the records tell:"
        yield from _causes(compared["causes"])


def _causes(causes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    tasks: dict[tuple[str, ...], list[str]] = {}
    for task, reasons in causes.items():
        tasks.setdefault(tuple(reasons), []).append(task)
    for reasons, names in tasks.items():
        more = [f"and {len(reasons) - _REASONS} more"] if len(reasons) > _REASONS else []
        yield from wrapped(f"{_names(names)}: {'; '.join([*reasons[:_REASONS], *more])}", 2, 4)


def _spec(compared: Mapping[str, Any]) -> Iterator[str]:
    for key, told in (("tasks_added", "Tasks only in B"), ("tasks_removed", "Tasks only in A")):
        if compared[key]:
            yield from wrapped(f"{told}: {_names(compared[key])}", 0, 2)
    changes: dict[tuple[str, str, str], list[str]] = {}
    for task, fields in compared["tasks_changed"].items():
        for field, (a, b) in fields.items():
            changes.setdefault((field.removeprefix("kwargs."), _value(a), _value(b)), []).append(task)
    if changes:
        yield "Tasks that were told otherwise:"
    for (field, a, b), tasks in changes.items():
        yield from wrapped(f"{field}: {a} -> {b}   in {_names(tasks)}", 2, 4)
    if compared["code_changed"]:
        yield from wrapped(f"Code that changed: the functions of {_names(compared['code_changed'])}", 0, 2)
    if compared["session"]:
        yield "Session asked for:"
        yield from _table([""], [((name,), pair) for name, pair in compared["session"].items()])


def _environment(compared: Mapping[str, Any]) -> Iterator[str]:
    for key, told in (("environment", "Environment:"), ("packages", "Packages:")):
        if compared[key]:
            yield told
            yield from _table([""], [((name,), pair) for name, pair in compared[key].items()])


def _inputs(inputs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    told = {
        "changed": "has another content",
        "removed": "is read by A only",
        "added": "is read by B only",
        "moved": "is the same file in another place:",
    }
    if inputs:
        yield "Input files:"
    for path, change in list(inputs.items())[:_MOST_ROWS]:
        size = " -> ".join(formats.size(size) for size in change["bytes"] if size is not None)
        yield f"  {path} {told[change['how']]} {change['to'] or f'({size})'}"
    yield from _more(len(inputs))


def _table(heads: Sequence[str], cells: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> Iterator[str]:
    """Rows of names, A's value, B's value and, of numbers, the difference."""
    rows = [(*heads, "A", "B", "B - A")]
    rows += [(*names, _value(a), _value(b), _difference(a, b)) for names, (a, b) in cells[:_MOST_ROWS]]
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    yield from columns(rows, right=range(len(heads), len(rows[0])) if len(rows[0]) > len(heads) + 2 else ())
    yield from _more(len(cells))


def _difference(a: Any, b: Any) -> str:
    if isinstance(a, bool) or isinstance(b, bool):
        return ""
    if not (isinstance(a, int | float) and isinstance(b, int | float)):
        return ""
    share = f" ({100 * (b - a) / abs(a):+.3g} %)" if a else ""
    return f"{b - a:+.4g}{share}"


def _value(value: Any) -> str:
    text = quantity(value)
    if isinstance(value, list | tuple | dict):
        text = json.dumps(value, ensure_ascii=False)
    return shortened(text, _LONG)


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _more(number: int) -> Iterator[str]:
    if number > _MOST_ROWS:
        yield f"  {number - _MOST_ROWS} more: --json"
