"""`deeprc demo`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for report.html and summary.json.")] = Path("demo-out"),
    on: Annotated[str | None, typer.Option(help="The pilot that gets the nodes; default: local.")] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores of a node; default: all.")] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="The run's directory; default: a new one in deeprc-runs.")
    ] = None,
) -> None:
    """Eleven neural forecasts and two rivers, from raw CSV files to a report, in minutes.

    The same as `pipelines/demo.yaml`. Data come with two installed packages; nothing is downloaded.
    """
    from deeprc.cli.execution import execute
    from deeprc.workloads.demo import pipeline

    raise typer.Exit(execute(pipeline().in_session(pilot=on, cores=cores), run_directory=run_dir, out=out))
