"""Whether a run can be run again just as it was."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import typer

from deeprc.cli.notices import IMPORTING, told_if_slow
from deeprc.errors import SpecError
from deeprc.journal import RunRecord
from deeprc.spec import Pipeline

_MOST_NAMED = 5


def repeatable_pipeline(run: RunRecord, *, anyway: bool) -> Pipeline:
    """The pipeline that a run has run, whose functions have been checked.

    Raises:
        SpecError: it was a script's, or has not ended; or, unless `anyway`, input files or code have changed.
    """
    from deeprc.report import summarise

    if "session" not in run.spec:
        raise SpecError(f"{run.directory} was not made from a pipeline. {_how_to_repeat_a_script(run)}")
    status = summarise(run)["status"]
    if status not in ("succeeded", "failed"):
        again = f"deeprc run --resume {run.directory}"
        raise SpecError(f"{run.directory} is {status}: there is no outcome to compare with. {again} does what is left")
    pipeline = Pipeline(**run.spec)
    with told_if_slow(IMPORTING):
        changes = [*_changed_inputs(run), *_changed_code(run, pipeline)]
    if changes and not anyway:
        more = [f"and {len(changes) - _MOST_NAMED} more"] if len(changes) > _MOST_NAMED else []
        told = "\n  ".join([*changes[:_MOST_NAMED], *more])
        raise SpecError(
            f"{run.directory} cannot be repeated as it was:\n  {told}\n"
            "Restore them, or give --anyway to see what the numbers are with them as they are now"
        )
    for change in changes:
        typer.echo(f"Warning: {change}", err=True)
    return pipeline


def tell_what_is_new(run: RunRecord) -> None:
    """Warn of another Python, of packages of other versions, and of another working directory."""
    from deeprc.journal.environment import describe_environment

    before, now = run.environment, describe_environment()
    installed = before.get("packages") or {}, now["packages"]
    facts = [("Python", before.get("python"), now["python"])]
    facts += [
        (name, installed[0].get(name), installed[1].get(name)) for name in dict.fromkeys([*installed[0], *installed[1]])
    ]
    changed = [f"{name} {a or 'absent'} -> {b or 'absent'}" for name, a, b in facts if a != b]
    if changed:
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        typer.echo(f"Warning: versions differ: {', '.join(changed[:_MOST_NAMED])}{more}", err=True)
    there = before.get("working_directory")
    if there and there != now["working_directory"]:
        typer.echo(f"Warning: the run was started in {there}; its relative paths meant files there", err=True)


def _changed_inputs(run: RunRecord) -> Iterator[str]:
    from deeprc.journal.fingerprints import fingerprint

    # Of a file that was hashed twice, the last counts.
    recorded = {str(event["path"]): event["blake2b"] for event in run.of_kind("input")}
    for path, digest in recorded.items():
        try:
            if fingerprint(Path(path)) != digest:
                yield f"input {path} has changed"
        except FileNotFoundError:
            yield f"input {path} is gone"
        except OSError as error:
            yield f"input {path} cannot be read: {error.strerror}"


def _changed_code(run: RunRecord, pipeline: Pipeline) -> Iterator[str]:
    """Tasks whose functions' code is another, as far as the run has kept what it was."""
    from deeprc.report.provenance import code_of
    from deeprc.runtime.session.code_digest import code_digest

    before = code_of(run)
    for task, function in pipeline.functions().items():
        if task in before and code_digest(function) != before[task]:
            yield f"the code of task {task!r} has changed"


def _how_to_repeat_a_script(run: RunRecord) -> str:
    command = run.environment.get("command") or []
    script = f"python {shlex.join(command)}" if command and command[0].endswith(".py") else "the script that made it"
    there = run.environment.get("working_directory")
    where = f" in {there}" if there else ""
    return f"Run {script} again{where}; then compare: deeprc diff {run.directory} last"
