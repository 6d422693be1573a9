"""`deeprc run PIPELINE.yaml`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deeprc.cli import submission
from deeprc.errors import SpecError


def run(
    pipeline: Annotated[
        Path | None, typer.Argument(help="The pipeline, a YAML file; with --resume it may be left out.")
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="The pilot that gets the nodes, or PILOT:SITE; default: the file's.")
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores of a node; default: the file's.")] = None,
    nodes: submission.Nodes = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and summary.json; default: the run's own.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="The run's directory; default: a new one in deeprc-runs.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Use the results of an earlier run: an id, its start, a directory, or last."),
    ] = None,
    time: submission.Time = None,
    partition: submission.Partition = None,
    account: submission.Account = None,
    qos: submission.Qos = None,
    sbatch_option: submission.SbatchOptions = None,
    stop_before: submission.StopBefore = None,
    requeues: submission.Requeues = None,
    detach: submission.Detach = False,
) -> None:
    """Run a pipeline: all of it is checked, then its tasks run, then its report is written.

    With --on slurm on a login node a job is submitted and followed; Ctrl-C cancels it.

    Before a job's time limit, or at SIGUSR1, the run stops, to be resumed.

    Exit code: 0 all tasks succeeded, 1 some did not, 2 refused before any work, 75 stopped, 130 interrupted.
    """
    from deeprc.cli.runs import find_run, pipeline_of
    from deeprc.spec import load_pipeline

    asked = submission.asked_session(
        pilot=on,
        cores=cores,
        nodes=nodes,
        time=time,
        options={"partition": partition, "account": account, "qos": qos},
        sbatch_options=sbatch_option,
        stop_before=stop_before,
        requeues=requeues,
    )
    earlier = None if resume is None else find_run(resume)
    if pipeline is not None:
        loaded = load_pipeline(pipeline, parse_settings(settings or []), session=asked)
    elif earlier is None or settings:
        raise SpecError("name the pipeline's file; it may be left out with --resume RUN, and then takes no --set")
    else:
        loaded = pipeline_of(earlier).in_session(**asked)
    raise typer.Exit(
        submission.run_or_submit(loaded, asked=asked, detach=detach, run_directory=run_dir, resume=earlier, out=out)
    )


def parse_settings(settings: list[str], *, option: str = "--set") -> dict[str, Any]:
    """ "horizon=48" as {"horizon": 48}: the value is read as the file's values are.

    Raises:
        SpecError: no "=", or a value that is no YAML.
    """
    from deeprc.spec.loading import parse_value

    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise SpecError(f"{option} takes name=value, got {setting!r}")
        values[name] = parse_value(text)
    return values
