"""How progress looks: a live table in a terminal, a line for each event elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deeprc.cli.progress import Progress, TaskProgress
from deeprc.journal.events import Event

STYLES = {
    "waiting": "dim",
    "running": "cyan",
    "retrying": "yellow",
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "yellow",
}


TELL_EVERY_S = 30.0


class _Output(Console):
    """Standard output, which may go away (`deeprc run ... | head`): the run then goes on in silence."""

    def on_broken_pipe(self) -> None:
        # rich would exit here, and that in the thread of whoever prints.
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console_for_results() -> Console:
    """Standard output; a file or pipe has no width, so it gets one that shortens little."""
    console = _Output()
    return console if console.is_terminal else _Output(width=160)


class View(Protocol):
    """Shows a run while it goes on."""

    def show(self, event: Event) -> None:
        """Take in an event; called by the driver's thread."""
        ...


@contextmanager
def view_for(console: Console, progress: Progress) -> Iterator[View]:
    """The live view in a terminal, the plain one elsewhere."""
    if not console.is_terminal:
        yield PlainView(console, progress)
        return
    view = LiveView(console, progress)
    with Live(view, console=console, refresh_per_second=8, transient=True):
        yield view


class PlainView:
    """One line for each event that matters, with the seconds since the run began; of progress one in a while."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._told: dict[str, float] = {}

    def show(self, event: Event) -> None:
        line = self._progress.update(event)
        if event["kind"] == "progress":
            line = self._how_far(event)
        if line:
            text = f"[{event['time'] - self._progress.started:7.1f} s] {line}"
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _how_far(self, event: Event) -> str | None:
        """How far a task is, `TELL_EVERY_S` after it started or was last told of."""
        task = self._progress.tasks[event["task"]]
        if event["time"] - self._told.get(task.name, task.started) < TELL_EVERY_S:
            return None
        self._told[task.name] = event["time"]
        share = f"{100 * task.fraction:.0f} % " if task.fraction is not None else ""
        return f"{task.name}: {share}{task.message}".rstrip()


class LiveView:
    """A table of tasks, drawn anew several times a second."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress

    def show(self, event: Event) -> None:
        self._progress.update(event)

    def __rich__(self) -> RenderableType:
        tasks = list(self._progress.tasks.values())
        room = max(self._console.height - 6, 5)
        shown = tasks if len(tasks) <= room else _most_telling(tasks, room)
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        now = time.time()
        for task in shown:
            table.add_row(*_live_row(task, now))
        warnings = [Text(f"warning: {warning}", style="yellow") for warning in self._progress.warnings[-2:]]
        return Group(table, *warnings, _headline(self._progress, now))


def _most_telling(tasks: list[TaskProgress], room: int) -> list[TaskProgress]:
    """What runs and what failed first, then what waits, then what is done; each in its order."""
    rank = {"running": 0, "retrying": 0, "failed": 1, "cancelled": 2, "waiting": 3, "succeeded": 4}
    return sorted(tasks, key=lambda task: rank[task.status])[:room]


def _live_row(task: TaskProgress, now: float) -> list[RenderableType]:
    running = task.status == "running"
    seconds = now - task.started if running else task.seconds
    bar: RenderableType = ""
    if running:
        bar = ProgressBar(total=1.0, completed=task.fraction or 0.0, width=20, pulse=task.fraction is None)
    return [
        Text(task.name, overflow="ellipsis", no_wrap=True),
        Text(task.status, style=STYLES[task.status]),
        f"{seconds:6.1f} s" if seconds else "",
        bar,
        Text(task.message, overflow="ellipsis", no_wrap=True, style="dim"),
    ]


def _headline(progress: Progress, now: float) -> Text:
    ended, total = progress.count("succeeded", "failed", "cancelled"), len(progress.tasks)
    elapsed = now - progress.started if progress.started else 0.0
    failed = progress.count("failed")
    return Text(
        f"{ended} of {total} tasks done, {progress.count('running')} running"
        + (f", {failed} failed" if failed else "")
        + f", {elapsed:.0f} s",
        style="bold",
    )


def result_table(progress: Progress) -> Table:
    """One row for each task of a run that is over."""
    table = Table("task", "status", "ranks", "seconds", "result", box=None, padding=(0, 2, 0, 0))
    table.columns[2].justify = table.columns[3].justify = "right"
    for task in progress.tasks.values():
        table.add_row(
            Text(task.name),
            Text(task.status, style=STYLES[task.status]),
            str(task.ranks),
            f"{task.seconds:.1f}" if task.seconds else "",
            Text(task.message, overflow="ellipsis", no_wrap=True),
        )
    return table


def tell_failures(console: Console, progress: Progress, run_directory: Path) -> None:
    """For each task that failed the user's traceback or the reason, what its rank said last, and where all of it is."""
    for task in progress.tasks.values():
        if task.status == "failed":
            output = task.output.rstrip()
            said = f"Its last output:\n{output}" if output else ""
            text = "\n".join(filter(None, [task.traceback.rstrip() or task.reason, said]))
            console.print(Panel(Text(text), title=Text(f"{task.name} failed"), border_style="red"))
            if task.log:
                console.print(f"Log:     {run_directory / task.log}", soft_wrap=True, highlight=False, markup=False)
