"""`deeprc report RUN`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[str, typer.Argument(help="An id, the start of one, a run's directory, or: last.")] = "last",
    out: Annotated[
        Path | None, typer.Option(help="The page to write; default: report.html in the run's directory.")
    ] = None,
) -> None:
    """Write a run's report: one page that needs nothing else."""
    from deeprc.cli.runs import find_run
    from deeprc.report import write_report

    directory = find_run(run)
    path = out or directory / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    typer.echo(write_report(directory, path))
