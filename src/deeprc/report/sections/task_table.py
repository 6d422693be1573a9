"""Every task in words and as a strip: waiting for inputs, queued for ranks, running."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from deeprc.report import formats
from deeprc.report.markup import Column, Html, element, folded, number_cell, row, table
from deeprc.report.tasks import Task, queued_seconds, ready_at

UNFOLDED = 25
_COLUMNS = (
    Column("Task"),
    Column("State"),
    Column("Ranks"),
    Column("Inputs after", numeric=True),
    Column("Queued", numeric=True),
    Column("Ran", numeric=True),
    Column("When"),
)

_KEYS = (
    ("waiting-key", "waits for inputs"),
    ("queued-key", "queued for ranks"),
    ("fill-1", "runs"),
    ("failed", "failed"),
)

Place = Callable[[float, float], str]


def task_table(tasks: Mapping[str, Task], place: Place, colours: Mapping[str, str], now: float) -> Html:
    """All tasks in order of submission; `place(begin, end)` is the CSS of a bar, `now` the end of the strip."""
    rows = [_row(task, tasks, place, colours, now) for task in tasks.values()]
    shown = table("Tasks of the run, in order of submission", _COLUMNS, rows, class_="tasks")
    legend = element("p", [_key(*entry) for entry in _KEYS], class_="note")
    return folded(f"All {formats.count(len(rows), 'task')} in a table", legend, shown, open_=len(rows) <= UNFOLDED)


def _key(kind: str, words: str) -> Html:
    return element("span", element("i", class_=f"key {kind}"), words, class_="key-entry")


def _row(task: Task, tasks: Mapping[str, Task], place: Place, colours: Mapping[str, str], now: float) -> Html:
    ready, queued = ready_at(task, tasks), queued_seconds(task, tasks)
    waited = ready - task.submitted if ready is not None and task.submitted is not None else None
    bars = element("div", list(_bars(task, ready, place, colours, now)), class_="strip", aria_hidden="true")
    return row(
        task.name,
        element("td", _state(task), class_=f"state {task.status}"),
        f"{task.ranks} {task.backend}".strip(),
        number_cell(formats.seconds(waited)),
        number_cell(formats.seconds(queued)),
        number_cell(formats.seconds(task.seconds)),
        bars,
    )


def _state(task: Task) -> str:
    state: str = task.status
    if state == "running" and task.progress is not None:
        done, total = task.progress.get("done"), task.progress.get("total")
        state = " ".join(filter(None, [f"running {done}/{total}", str(task.progress.get("message") or "")]))
    attempts = len(task.attempts)
    return f"{state}, {attempts} attempts" if attempts > 1 else state


def _bars(task: Task, ready: float | None, place: Place, colours: Mapping[str, str], now: float) -> Iterator[Html]:
    closed = task.closed if task.closed is not None else now
    if task.submitted is not None:
        until = min(ready if ready is not None else closed, closed)
        yield element("i", class_="bar waiting", style=place(task.submitted, until))
    if ready is not None and task.status != "cancelled":
        until = task.attempts[0].started if task.attempts else closed
        yield element("i", class_="bar queued", style=place(ready, until))
    for attempt in task.attempts:
        end = attempt.ended if attempt.ended is not None else now
        kind = f"bar {colours[task.group]} {attempt.outcome}"
        yield element("i", class_=kind, style=place(attempt.started, end))
    if task.status == "cancelled":
        yield element("i", "✕", class_="bar stop", style=place(closed, closed))
