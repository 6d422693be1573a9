"""Running a pipeline in front of someone: progress while it runs, then a table, a report, an exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from deeprc.cli.notices import IMPORTING, ends_in_order, stops_when_told, told_if_slow
from deeprc.cli.progress import Progress
from deeprc.cli.views import console_for_results, result_table, tell_failures, view_for
from deeprc.errors import SpecError
from deeprc.spec import Pipeline
from deeprc.spec.pipeline import SessionSpec

if TYPE_CHECKING:
    from deeprc.runtime.pilot import Pilot

# EX_TEMPFAIL of sysexits.h: to be tried again.
STOPPED = 75
_GRACE_S = 90.0

# Given what stops a run within so many seconds, for a reason; calls it when it is time, while the context is open.
Stop = Callable[[float, str], None]
Watch = Callable[[Stop], AbstractContextManager[None]]


@contextmanager
def told_by_signal(stop: Stop) -> Iterator[None]:
    """Stop the run at SIGUSR1."""
    with stops_when_told(lambda: stop(_GRACE_S, "SIGUSR1 has told it to")):
        yield


def execute(
    pipeline: Pipeline,
    *,
    run_directory: Path | None = None,
    resume: Path | None = None,
    out: Path | None = None,
    console: Console | None = None,
    watch: Watch = told_by_signal,
) -> int:
    """Run every task; return the exit code: 0 if all succeeded, `STOPPED` if it was told to stop before, else 1.

    `report.html` and `summary.json` go to `out`, or else to the run's directory, whatever the outcome.

    Raises:
        SpecError: refused before any work.
        KeyboardInterrupt: by Ctrl-C or SIGTERM, once all processes have ended and the report is written.
    """
    from deeprc.runtime import Session

    console = console or console_for_results()
    if out is not None:
        _make(out)
    with told_if_slow(IMPORTING):
        pipeline.functions()
    asked, progress = pipeline.session, Progress()
    session = Session(
        _pilot(asked),
        cores=asked.cores,
        gpus=asked.gpus,
        memory=asked.memory_bytes,
        nodes=asked.nodes,
        run_dir=run_directory,
        resume=resume,
        name=pipeline.name,
    )
    try:
        with ends_in_order(), watch(session.stop), view_for(console, progress) as view, session:
            session.subscribe(view.show)
            for future in session.run(pipeline).values():
                future.exception()
    finally:
        tell_outcome(console, progress, session.run_directory, out)
    if session.stopped_tasks:
        return STOPPED
    return 0 if progress.all_succeeded else 1


def _make(out: Path) -> None:
    """The folder for the results: refused before the work, not after it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"--out {out}: cannot be made: {error.strerror}") from error


def _pilot(asked: SessionSpec) -> str | Pilot:
    """The pilot by its name; RADICAL-Pilot's with the time limit and the options that the job is to have."""
    name, _, site = asked.pilot.partition(":")
    if name != "radical" or (asked.time_s is None and not asked.options):
        return asked.pilot
    from deeprc.pilots.radical import RadicalPilot
    from deeprc.pilots.radical_translation import DEFAULT_RESOURCE, batch_options

    return RadicalPilot(site or DEFAULT_RESOURCE, **batch_options(asked.time_s, asked.options or {}))


def tell_outcome(console: Console, progress: Progress, run_directory: Path, out: Path | None) -> None:
    """Print a run's results, and write its report and summary."""
    if progress.tasks:
        console.print(result_table(progress))
        tell_failures(console, progress, run_directory)
        folder = write_results(run_directory, out or run_directory)
        console.print(f"Report:  {folder / 'report.html'}", soft_wrap=True, highlight=False)
        console.print(f"Summary: {folder / 'summary.json'}", soft_wrap=True, highlight=False)
    console.print(f"Run:     {run_directory}", soft_wrap=True, highlight=False)


def write_results(run_directory: Path, folder: Path) -> Path:
    """Write `report.html` and `summary.json` of a run into `folder`, each whole or not at all."""
    from deeprc.journal import read_run, write_json
    from deeprc.report import summarise, write_report

    folder.mkdir(parents=True, exist_ok=True)
    write_report(run_directory, folder / "report.html")
    write_json(folder / "summary.json", summarise(read_run(run_directory)))
    return folder
