"""`deeprc bench`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure Deep RC on this machine.", no_args_is_help=True)


@app.callback()
def _bench() -> None:
    """Measure Deep RC on this machine."""


@app.command()
def pipeline(
    json: Annotated[Path, typer.Option("--json", help="File for the measurements.")],
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians are reported.")] = 3,
) -> None:
    """The same eleven models as batch jobs, and as one run."""
    from deeprc.cli.bench_pipeline import main

    main(json, rounds=rounds)


@app.command()
def tasks(
    json: Annotated[Path, typer.Option("--json", help="File for the measurements.")],
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians are reported.")] = 3,
) -> None:
    """Throughput and latency of small tasks, beside other systems."""
    from deeprc.cli.bench_tasks import main

    main(json, rounds=rounds)
