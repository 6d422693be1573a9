"""The runs of a folder, one row each: what `deeprc history` prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deeprc.errors import JournalError
from deeprc.journal import list_runs, read_run
from deeprc.report.verdict import Verdict, verdict_of


@dataclass(frozen=True)
class HistoryRow:
    """One run: `started` in seconds since the epoch, `seconds` it took (so far, if unfinished), tasks by outcome.

    `status` is "succeeded", "failed", "interrupted", "unfinished" or "unreadable"; `resumes` is the directory of
    the run whose results this one took over.
    """

    run: str
    directory: Path
    started: float
    name: str
    status: str
    seconds: float
    succeeded: int
    failed: int
    cancelled: int
    resumes: str = ""


def history_rows(root: Path) -> list[HistoryRow]:
    """Rows for all runs under `root`, oldest first; a damaged journal is a row too and hides no other run."""
    return [history_row(directory) for directory in list_runs(root)]


def history_row(directory: Path) -> HistoryRow:
    """The row of one run."""
    try:
        record = read_run(directory)
        verdict = verdict_of(record)
    except (JournalError, KeyError, TypeError):
        return HistoryRow(directory.name, directory, 0.0, "", "unreadable", 0.0, 0, 0, 0)
    return _from_verdict(verdict, directory, str((record.first("run.started") or {}).get("resumes") or ""))


def _from_verdict(verdict: Verdict, directory: Path, resumes: str) -> HistoryRow:
    return HistoryRow(
        run=directory.name,
        directory=directory,
        started=verdict.started,
        name=verdict.name,
        status=verdict.status,
        seconds=verdict.seconds,
        succeeded=verdict.counted("succeeded"),
        failed=verdict.counted("failed"),
        cancelled=verdict.counted("cancelled"),
        resumes=resumes,
    )
