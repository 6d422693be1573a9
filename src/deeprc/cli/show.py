"""`deeprc show`"""

from __future__ import annotations

import json
from typing import Annotated

import typer


def show(
    run: Annotated[str, typer.Argument(help="An id, the start of one, a run's directory, or: last.")] = "last",
    task: Annotated[str | None, typer.Argument(help="A task of it: its arguments, events, result and logs.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every task, metric and input, not one screen.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with nothing left out.")] = False,
) -> None:
    """Say what a run, or one of its tasks, did; also while it goes on."""
    from deeprc.cli.run_text import run_lines
    from deeprc.cli.runs import record_of
    from deeprc.cli.task_text import task_lines
    from deeprc.report import describe_run, describe_task

    record = record_of(run)
    described = describe_run(record) if task is None else describe_task(record, task)
    if as_json:
        typer.echo(json.dumps(described, indent=1, default=str))
        return
    lines = run_lines(described, everything=everything) if task is None else task_lines(described, record.events)
    for line in lines:
        typer.echo(line)
