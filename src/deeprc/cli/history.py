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
    sizes: Annotated[bool, typer.Option("--sizes", help="Say how much room each run takes.")] = False,
) -> None:
    """List the runs of this folder (or of $DEEPRC_RUNS), oldest first."""
    from deeprc.journal import run_bytes, runs_root
    from deeprc.report import history_rows

    root = runs_root()
    rows = history_rows(root)
    taken = {row.run: run_bytes(row.directory) for row in rows} if sizes else {}
    if as_json:
        plain = [{**asdict(row), **({"bytes": taken[row.run]} if sizes else {})} for row in rows]
        typer.echo(json.dumps(plain, indent=1, default=str))
    elif rows:
        _print_table(rows, taken)
    else:
        typer.echo(f"No runs in {root}. `deeprc run PIPELINE.yaml` makes one; $DEEPRC_RUNS says where they are.")


def _print_table(rows: list[HistoryRow], taken: dict[str, int]) -> None:
    from rich.table import Table
    from rich.text import Text

    from deeprc.cli.remove import size_text
    from deeprc.cli.views import STYLES, console_for_results

    # A run's id begins with the time at which it started.
    table = Table("run", "name", "status", "seconds", "tasks", box=None, padding=(0, 2, 0, 0))
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    table.columns[3].justify = "right"
    if taken:
        table.add_column("size", justify="right")
    for row in rows:
        counts = {"succeeded": row.succeeded, "failed": row.failed, "cancelled": row.cancelled}
        told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
        status = Text(row.status, style=STYLES.get(row.status, ""))
        table.add_row(
            row.run, Text(row.name), status, f"{row.seconds:.1f}", told, *([size_text(taken[row.run])] if taken else [])
        )
    if taken:
        table.add_row("all", "", "", "", "", size_text(sum(taken.values())))
    console_for_results().print(table)
