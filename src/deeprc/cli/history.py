"""`deeprc history`"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from deeprc.cli.views import STYLES

    table = Table("run", "started", "name", "status", "seconds", "tasks", box=None, padding=(0, 2, 0, 0))
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    table.columns[4].justify = "right"
    for row in rows:
        started = datetime.fromtimestamp(row.started).isoformat(" ", "minutes") if row.started else ""
        counts = {"succeeded": row.succeeded, "failed": row.failed, "cancelled": row.cancelled}
        told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
        status = Text(row.status, style=STYLES.get(row.status, ""))
        table.add_row(row.run, started, Text(row.name), status, f"{row.seconds:.1f}", told)
    Console().print(table)
