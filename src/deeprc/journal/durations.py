"""How long tasks took in earlier runs: what "longest path first" goes by."""

from __future__ import annotations

from pathlib import Path

from deeprc.errors import JournalError
from deeprc.journal.reader import list_runs, read_run

_RUNS_REMEMBERED = 5


def remembered_durations(root: Path) -> dict[str, float]:
    """Seconds by task name, from the newest of the last few runs under `root` that finished such a task."""
    seconds: dict[str, float] = {}
    for directory in list_runs(root)[-_RUNS_REMEMBERED:]:
        try:
            run = read_run(directory)
        except (JournalError, OSError):
            # Another user's, or damaged: what it would have told only helps order.
            continue
        seconds.update({event["task"]: event["seconds"] for event in run.of_kind("task.finished")})
    return seconds
