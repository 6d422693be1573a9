"""`deeprc demo`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprc.cli import submission


def demo(
    out: Annotated[Path, typer.Option(help="Folder for report.html and summary.json.")] = Path("demo-out"),
    on: Annotated[
        str | None, typer.Option(help="The pilot that gets the nodes, or PILOT:SITE; default: local.")
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores of a node; default: all.")] = None,
    nodes: submission.Nodes = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="The run's directory; default: a new one in deeprc-runs.")
    ] = None,
    time: submission.Time = None,
    partition: submission.Partition = None,
    account: submission.Account = None,
    qos: submission.Qos = None,
    sbatch_option: submission.SbatchOptions = None,
    detach: submission.Detach = False,
) -> None:
    """Eleven neural forecasts and two rivers, from raw CSV files to a report, in minutes.

    The same as `pipelines/demo.yaml`. Data come with two installed packages; nothing is downloaded.
    """
    from deeprc.workloads.demo import pipeline

    asked = submission.asked_session(
        pilot=on,
        cores=cores,
        nodes=nodes,
        time=time,
        options={"partition": partition, "account": account, "qos": qos},
        sbatch_options=sbatch_option,
    )
    whole = pipeline().in_session(**asked)
    raise typer.Exit(submission.run_or_submit(whole, asked=asked, detach=detach, run_directory=run_dir, out=out))
