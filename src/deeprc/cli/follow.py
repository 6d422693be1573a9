"""`deeprc follow RUN`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from deeprc.errors import JournalError


def follow(
    run: Annotated[str, typer.Argument(help="An id, the start of one, a run's directory, or: last.")] = "last",
) -> None:
    """Follow a run that was submitted to Slurm, as the command that did so would; Ctrl-C leaves the job to itself."""
    from deeprc.cli import submission
    from deeprc.cli.views import console_for_results

    directory = submitted_run(run)
    job = str(json.loads((directory / "job.json").read_text())["job"])
    raise typer.Exit(submission.follow(job, directory, None, console_for_results(), cancels=False))


def submitted_run(text: str) -> Path:
    """The directory of a run that was submitted, also while its job waits and it has not begun.

    Raises:
        JournalError: no such run, or it was not submitted.
    """
    from deeprc.journal import runs_root

    if (Path(text) / "job.json").is_file():
        return Path(text).absolute()
    submitted = sorted(path.parent for path in runs_root().glob("*/job.json"))
    matching = submitted[-1:] if text == "last" else [run for run in submitted if run.name.startswith(text)]
    if len(matching) == 1:
        return matching[0]
    latest = ", ".join(run.name for run in submitted[-5:]) or "none"
    found = "several runs" if matching else "no run"
    raise JournalError(
        f"{found} {text!r} with a job of Slurm in {runs_root()}. The latest: {latest}. Valid: an id, its start, a path "
        "or last"
    )
