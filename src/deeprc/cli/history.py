"""`deeprc history`"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deeprc.report import HistoryRow


def history(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the runs of this folder (or of $DEEPRC_RUNS), oldest first."""
    from deeprc.journal import runs_root
    from deeprc.report import history_rows

    root = runs_root()
    rows = history_rows(root)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=1, default=str))
    elif rows:
        _print_table(rows)
    else:
        typer.echo(f"No runs in {root}. `deeprc run PIPELINE.yaml` makes one; $DEEPRC_RUNS says where they are.")


def _print_table(rows: list[HistoryRow]) -> None:
    from rich.table import Table
    from rich.text import Text

    from deeprc.cli.views import STYLES, console_for_results

    # A run's id begins with the time at which it started.
    table = Table("run", "name", "status", "seconds", "tasks", box=None, padding=(0, 2, 0, 0))
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    table.columns[3].justify = "right"
    for row in rows:
        counts = {"succeeded": row.succeeded, "failed": row.failed, "cancelled": row.cancelled}
        told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
        status = Text(row.status, style=STYLES.get(row.status, ""))
        table.add_row(row.run, Text(row.name), status, f"{row.seconds:.1f}", told)
    console_for_results().print(table)
