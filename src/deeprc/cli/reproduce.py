"""`deeprc reproduce`"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeprc.errors import DeepRCError

if TYPE_CHECKING:
    from deeprc.journal import RunRecord
    from deeprc.spec import Pipeline


def reproduce(
    run: Annotated[str, typer.Argument(help="An id, the start of one, a run's directory, or: last.")],
    on: Annotated[str | None, typer.Option(help="Another pilot, or PILOT:SITE; default: the run's.")] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also if input files or code have changed since, or are gone.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Numbers that differ by at most this share of the larger are the same.")
    ] = 1e-6,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report, summary and comparison; default: the new run's own.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="The new run's directory; default: a new one in deeprc-runs.")
    ] = None,
) -> None:
    """Run again just what a run has run, and say whether its numbers come out the same.

    Nothing of the earlier run is reused. If input files or code have changed, it is refused before any work.

    Exit code: 0 the same, 1 not the same, 2 refused, 75 stopped, 130 interrupted.
    """
    from deeprc.cli.repeatable import repeatable_pipeline, tell_what_is_new
    from deeprc.cli.runs import record_of

    earlier = record_of(run)
    pipeline = repeatable_pipeline(earlier, anyway=anyway).in_session(pilot=on)
    tell_what_is_new(earlier)
    code, directory = _run_again(pipeline, run_dir, out)
    # Whether its tasks succeeded counts in comparison with the earlier run.
    raise typer.Exit(_verdict(earlier, directory, out or directory, tolerance) if code in (0, 1) else code)


def _run_again(pipeline: Pipeline, run_dir: Path | None, out: Path | None) -> tuple[int, Path]:
    """The exit code of a new run, and its directory."""
    from deeprc.cli import submission
    from deeprc.journal import new_run_directory

    directory = run_dir.absolute() if run_dir else new_run_directory()
    try:
        return submission.run_or_submit(pipeline, asked={}, run_directory=directory, out=out), directory
    except DeepRCError:
        # Refused before it began: nothing is in it.
        with contextlib.suppress(OSError):
            directory.rmdir()
        raise


def _verdict(earlier: RunRecord, directory: Path, folder: Path, tolerance: float) -> int:
    """Say whether the numbers are the same, and write `comparison.json`; returns the exit code."""
    from deeprc.cli.diff_text import came_out_lines
    from deeprc.cli.runs import record_of
    from deeprc.journal import write_json
    from deeprc.report import compare

    compared = compare(earlier, record_of(str(directory)), tolerance=tolerance)
    write_json(folder / "comparison.json", compared)
    what = _counted(compared["compared"])
    within = f"(numbers to {tolerance:g}, relative)" if tolerance else "(numbers to the last bit)"
    if compared["same_numbers"]:
        typer.echo(f"Reproduced: {what} are the same as in {earlier.directory.name} {within}.")
        return 0
    typer.echo(f"Not reproduced: of {what} not all are the same {within}.")
    typer.echo(f"A is {earlier.directory.name}, B the new run.")
    for line in came_out_lines(compared):
        typer.echo(line)
    typer.echo(f"All that differs: deeprc diff {earlier.directory} {directory}")
    return 1


def _counted(compared: Mapping[str, int]) -> str:
    """What has been compared: "4 metrics, and status and result of 3 tasks,"."""
    from deeprc.report.formats import count

    return f"{count(compared['metrics'], 'metric')}, and status and result of {count(compared['tasks'], 'task')},"
