"""`deeprc run PIPELINE.yaml`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprc.errors import SpecError


def run(
    pipeline: Annotated[Path, typer.Argument(help="The pipeline, a YAML file.")],
    on: Annotated[str | None, typer.Option(help="The pilot that gets the nodes; default: the file's.")] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores of a node; default: the file's.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and summary.json; default: the run's own.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="The run's directory; default: a new one in deeprc-runs.")
    ] = None,
) -> None:
    """Run a pipeline: all of it is checked, then its tasks run, then its report is written.

    Exit code: 0 all tasks succeeded, 1 some did not, 2 refused before any work, 130 interrupted.
    """
    from deeprc.cli.execution import execute
    from deeprc.spec import load_pipeline

    loaded = load_pipeline(pipeline, parse_settings(settings or []), session={"pilot": on, "cores": cores})
    raise typer.Exit(execute(loaded, run_directory=run_dir, out=out))


def parse_settings(settings: list[str]) -> dict[str, object]:
    """ "horizon=48" as {"horizon": 48}: the value is read as the file's values are.

    Raises:
        SpecError: no "=", or a value that is no YAML.
    """
    from deeprc.spec.loading import parse_value

    values: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise SpecError(f"--set takes name=value, got {setting!r}")
        values[name] = parse_value(text)
    return values
