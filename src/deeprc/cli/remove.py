"""`deeprc remove`"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeprc.errors import SpecError

if TYPE_CHECKING:
    from deeprc.report import HistoryRow


def remove(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Ids, starts of ids, or directories of runs.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="T", help="All runs that began longer ago than this: 30d, 12h.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=0, help="All runs but the latest N.")] = None,
    data_only: Annotated[
        bool, typer.Option("--data-only", help="Only datasets, kept results and checkpoints: the record stays.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also runs that are unfinished, or whose data a later run uses.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove runs, or only their data, after saying which and how much room they take."""
    from deeprc.journal import remove_run, run_bytes

    chosen, spared = _chosen(runs or [], older_than, keep, force=force)
    for row, reason in spared:
        typer.echo(f"{row.run} stays: {reason}", err=True)
    if not chosen:
        typer.echo("Nothing to remove.")
        return
    sizes = [run_bytes(row.directory) for row in chosen]
    for row, size in zip(chosen, sizes, strict=True):
        typer.echo(f"{row.run}  {row.name}  {row.status}  {size_text(size)}")
    what = "the data of these runs" if data_only else "these runs"
    if not yes and not typer.confirm(f"Remove {what}, {size_text(sum(sizes))}?"):
        raise typer.Exit(1)
    for row in chosen:
        remove_run(row.directory, data_only=data_only)
    typer.echo(f"Removed {what}; {size_text(sum(sizes) - sum(run_bytes(row.directory) for row in chosen))} are free.")


def size_text(number: float) -> str:
    """Bytes as people read them: "1.4 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _chosen(
    named: list[str], older_than: str | None, keep: int | None, *, force: bool
) -> tuple[list[HistoryRow], list[tuple[HistoryRow, str]]]:
    """The runs to remove, and those that were meant but stay, with the reason."""
    from deeprc.cli.runs import find_run
    from deeprc.journal import runs_root
    from deeprc.report import history_row, history_rows
    from deeprc.spec.quantities import seconds

    if not named and older_than is None and keep is None:
        raise SpecError("say which runs: their ids, --older-than 30d, or --keep 10")
    if named and (older_than is not None or keep is not None):
        raise SpecError("name runs, or choose them by --older-than and --keep, not both")
    rows = history_rows(runs_root())
    if named:
        meant = [history_row(find_run(text)) for text in dict.fromkeys(named)]
    else:
        try:
            longest = float(str(seconds(older_than))) if older_than is not None else 0.0
        except ValueError as error:
            raise SpecError(f"--older-than {error}") from error
        old_enough = rows[: max(0, len(rows) - keep)] if keep is not None else rows
        meant = [row for row in old_enough if older_than is None or time.time() - row.started > longest]
    reasons = {row.run: _reason_to_stay(row, meant, rows) for row in meant if not force}
    return (
        [row for row in meant if not reasons.get(row.run)],
        [(row, reason) for row in meant if (reason := reasons.get(row.run))],
    )


def _reason_to_stay(row: HistoryRow, meant: list[HistoryRow], rows: list[HistoryRow]) -> str | None:
    if row.status == "unfinished":
        return "it is unfinished, and may still run; --force removes it"
    if row.status == "unreadable":
        return "its record is unreadable; --force removes it"
    going = {other.directory.resolve() for other in meant}
    for other in rows:
        if other.resumes and Path(other.resumes) == row.directory and other.directory.resolve() not in going:
            return f"{other.run} resumed it and uses its data; remove that one too, or --force"
    return None
