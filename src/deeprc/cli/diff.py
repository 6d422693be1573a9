"""`deeprc diff`"""

from __future__ import annotations

import json
from typing import Annotated

import typer

Tolerance = Annotated[
    float, typer.Option(min=0.0, help="Numbers that differ by at most this share of the larger are the same.")
]


def diff(
    a: Annotated[str, typer.Argument(metavar="RUN", help="An id, the start of one, a run's directory, or: last.")],
    b: Annotated[str, typer.Argument(metavar="OTHER", help="The run to compare with it, given likewise.")],
    tolerance: Tolerance = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with nothing left out.")] = False,
) -> None:
    """Say what differs between two runs, in what went in and in what came out, and only that.

    Exit code: 0 whether they differ or not.
    """
    from deeprc.cli.diff_text import diff_lines
    from deeprc.cli.runs import record_of
    from deeprc.report import compare

    compared = compare(record_of(a), record_of(b), tolerance=tolerance)
    if as_json:
        typer.echo(json.dumps(compared, indent=1, default=str))
        return
    for line in diff_lines(compared):
        typer.echo(line)
