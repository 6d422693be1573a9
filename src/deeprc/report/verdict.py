"""What a run came to, in a few numbers: the head of the page, the summary and the history say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from deeprc.journal import RunRecord
from deeprc.report.tasks import Task, last_moment, tasks_of


@dataclass(frozen=True)
class Verdict:
    """`status` is "unfinished" where the journal has no end: the run goes on, or its driver was ended."""

    run: str
    name: str
    status: str
    started: float
    seconds: float
    pilot: str
    nodes: int
    cores: int
    tasks: Mapping[str, int]
    ranks_started: int
    busy_share: float | None

    def counted(self, status: str) -> int:
        """Number of tasks in a state."""
        return self.tasks.get(status, 0)


def verdict_of(run: RunRecord) -> Verdict:
    """Sum a run up; a run without events is "unfinished" and took 0 s."""
    start = run.first("run.started") or {}
    end = run.first("run.finished")
    first = float(run.events[0]["time"]) if run.events else 0.0
    started = float(start.get("time", first))
    seconds = float(end["seconds"]) if end and "seconds" in end else last_moment(run) - started
    tasks = tasks_of(run)
    cores = sum(int(node.get("cores") or 0) for node in start.get("nodes") or ())
    return Verdict(
        run=str(start.get("run") or run.directory.name),
        name=str(start.get("name") or ""),
        status=str(end.get("status", "unfinished")) if end else "unfinished",
        started=started,
        seconds=max(0.0, seconds),
        pilot=str(start.get("pilot") or ""),
        nodes=len(start.get("nodes") or ()),
        cores=cores,
        tasks=Counter(task.status for task in tasks.values()),
        ranks_started=sum(1 for _ in run.of_kind("rank.started")),
        busy_share=_busy_seconds(tasks, last_moment(run)) / (cores * seconds) if cores and seconds > 0 else None,
    )


def _busy_seconds(tasks: Mapping[str, Task], now: float) -> float:
    """Seconds that ranks spent in tasks, summed over ranks."""
    return sum(
        len(attempt.places) * ((attempt.ended or now) - attempt.started)
        for task in tasks.values()
        for attempt in task.attempts
    )
