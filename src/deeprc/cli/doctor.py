"""`deeprc doctor`"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from deeprc.cli.machine import Finding

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "missing": ("–", "yellow")}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Also start two ranks with mpi and with gloo (seconds).")
    ] = False,
) -> None:
    """Say what this machine offers, and for each thing it lacks the command that brings it.

    Exit code: 1 if --check found a communicator that does not work, else 0.
    """
    from deeprc.cli.machine import inspect_machine

    findings = inspect_machine()
    if check:
        from deeprc.cli.trial import try_communicators

        findings += try_communicators()
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        from rich.console import Console

        print_findings(findings, Console())
    if any(finding.group == "trial" and finding.status != "ok" for finding in findings):
        raise typer.Exit(1)


def print_findings(findings: list[Finding], console: Console) -> None:
    """A table for each group; what is missing is followed by its remedy."""
    from rich.table import Table
    from rich.text import Text

    for group, members in groupby(findings, key=lambda finding: finding.group):
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
        for column in (1, 20, None):
            table.add_column(min_width=column)
        for finding in members:
            mark, style = MARKS[finding.status]
            detail = Text(finding.detail)
            if finding.remedy:
                detail.append(f"\n→ {finding.remedy}", style="cyan")
            table.add_row(Text(mark, style=style), Text(finding.name), detail)
        console.print(Text(group, style="bold"))
        console.print(table)
