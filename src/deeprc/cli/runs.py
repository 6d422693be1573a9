"""Which run the user means."""

from __future__ import annotations

from pathlib import Path

from deeprc.errors import JournalError
from deeprc.journal import RunRecord, list_runs, read_run, runs_root
from deeprc.spec import Pipeline


def find_run(text: str, root: Path | None = None) -> Path:
    """The directory of a run given by path, by id, by the start of its id, or as "last".

    Raises:
        JournalError: no run, or more than one, is meant; lists the runs there are.
    """
    if (Path(text) / "events.jsonl").is_file():
        return Path(text)
    root = root or runs_root()
    runs = list_runs(root)
    if not runs:
        raise JournalError(f"no runs in {root}; `deeprc run` makes them, and $DEEPRC_RUNS says where they are")
    if text == "last":
        return runs[-1]
    matching = [run for run in runs if run.name.startswith(text)]
    exact = [run for run in matching if run.name == text]
    if len(exact or matching) == 1:
        return (exact or matching)[0]
    names = ", ".join(run.name for run in (matching or runs)[-5:])
    if matching:
        raise JournalError(f"{len(matching)} runs start with {text!r}: {names}. Give more of the name")
    raise JournalError(f"no run {text!r} in {root}. The latest: {names}. Valid: an id, its start, a path, or last")


def pipeline_of(run: Path) -> Pipeline:
    """The pipeline that a run was made from.

    Raises:
        JournalError: it was a session's, whose functions and arguments are in a script.
    """
    spec = read_run(run).spec
    if "session" not in spec:
        again = f"Session(resume={str(run)!r})"
        raise JournalError(f"{run} was not made from a pipeline: run its script again, with {again}")
    return Pipeline(**spec)


def record_of(text: str) -> RunRecord:
    """What is recorded of the run that the user means; of one that Slurm has started again, its latest start.

    Raises:
        JournalError: no run, or more than one, is meant; or its record is damaged.
    """
    from deeprc.pilots.slurm_job import current_directory

    return read_run(current_directory(find_run(text).absolute()))
