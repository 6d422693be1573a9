"""`deeprc`: the commands, and how errors are told."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import deeprc
from deeprc.cli import demo, diff, doctor, follow, history, manifest, remove, report, reproduce, run, show
from deeprc.cli.bench import commands as bench
from deeprc.errors import DeepRCError, SpecError

SPEC_REFUSED = 2
INTERRUPTED = 130


class _Commands(TyperGroup):
    """Tells Deep RC's own errors as a message; a traceback is for --debug and for bugs."""

    def invoke(self, ctx: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                # A terminal's locale may lack a letter of a task's error.
                stream.reconfigure(errors="replace")
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except DeepRCError as error:
            if ctx.params.get("debug"):
                raise
            typer.secho(f"Error: {error}", fg="red" if sys.stderr.isatty() else None, err=True)
            raise typer.Exit(SPEC_REFUSED if isinstance(error, SpecError) else 1) from None
        except OSError as error:
            # A folder that may not be written to, a full disk: not a bug, if a file is named.
            if error.filename is None or ctx.params.get("debug"):
                raise
            typer.echo(f"Error: {error.filename}: {error.strerror}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="deeprc",
    cls=_Commands,
    help="From raw tables to trained, evaluated, reported models: one run on one allocation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deeprc {deeprc.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show Python tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command()(demo.demo)
app.command()(run.run)
app.command()(follow.follow)
app.command()(history.history)
app.command()(show.show)
app.command()(diff.diff)
app.command()(reproduce.reproduce)
app.command()(remove.remove)
app.command()(report.report)
app.command()(doctor.doctor)
app.command()(manifest.manifest)
app.add_typer(bench.app, name="bench")

if __name__ == "__main__":
    app()
