"""A run as a job of Slurm: submitted from a login node, followed by what Slurm and the run's journal say."""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deeprc.errors import ResourceError
from deeprc.journal import EventTail, new_run_directory, write_json
from deeprc.journal.events import Event
from deeprc.pilots.slurm import Job, parse_job
from deeprc.pilots.slurm_pilot import slurm_says
from deeprc.pilots.slurm_submission import (
    batch_script,
    forgotten,
    listed_names,
    parse_submission,
    submission_options,
    unknown_name,
    why_it_waits,
)
from deeprc.spec import Pipeline, dump_pipeline
from deeprc.workspace import checkpoints_of

PIPELINE_FILE = "pipeline.yaml"
SCRIPT_FILE = "job.sh"
LOG_FILE = "logs/job.log"
_LOOK_EVERY_S = (1.0, 15.0)
_EVENTS_EVERY_S = 0.3


@dataclass(frozen=True)
class JobState:
    """How a job that has not ended stands, and why."""

    state: str
    reason: str


def inside_a_job() -> str | None:
    """The id of the job that this process belongs to."""
    return os.environ.get("SLURM_JOB_ID")


def submit(
    pipeline: Pipeline, run_directory: Path | None, out: Path | None, *, resume: Path | None = None
) -> tuple[str, Path]:
    """Submit the run of a pipeline that has been checked; gives the job's id and the run's directory.

    The pipeline is written there as it is now, so that a file edited while the job waits changes nothing.

    Raises:
        ResourceError: Slurm refuses the job, with what it said; nothing is left then.
    """
    # Refuses what it must before anything is made.
    options = submission_options(pipeline.name, pipeline.session)
    directory = run_directory.absolute() if run_directory else new_run_directory()
    logs = directory / "logs"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    (directory / PIPELINE_FILE).write_text(dump_pipeline(pipeline))
    script = directory / SCRIPT_FILE
    sbatch = ["sbatch", "--parsable", f"--output={directory / LOG_FILE}", *options, str(script)]
    script.write_text(batch_script(_command(directory, out, resume), _environment(), sbatch))
    script.chmod(0o700)
    try:
        job = parse_submission(slurm_says(*sbatch))
    except ResourceError as error:
        for path in (script, directory / PIPELINE_FILE):
            path.unlink()
        logs.rmdir()
        directory.rmdir()
        raise _with_valid_names(error) from None
    write_json(directory / "job.json", {"site": "slurm", "job": job})
    return job, directory


def _with_valid_names(refusal: ResourceError) -> ResourceError:
    """The refusal, and the names that there are, if it is for a name."""
    asked = unknown_name(str(refusal), getpass.getuser())
    if asked is None:
        return refusal
    noun, command = asked
    try:
        names = listed_names(slurm_says(*command))
    except ResourceError:
        # Not every site lets users look.
        return refusal
    return ResourceError(f"{refusal}\nValid {noun}s: {', '.join(names)}." if names else str(refusal))


def _command(directory: Path, out: Path | None, resume: Path | None) -> list[str]:
    results = ["--out", str(out.absolute())] if out else []
    results += ["--resume", str(resume.absolute())] if resume else []
    run = [sys.executable, "-m", "deeprc.cli.main", "run", str(directory / PIPELINE_FILE)]
    return [*run, "--run-dir", str(directory), *results]


def _environment() -> dict[str, str]:
    path = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def restarts() -> int:
    """How often Slurm has put this process's job back into the queue and started it again."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def restart_directory(run_directory: Path) -> Path:
    """Where the run goes on after that."""
    return run_directory / "restarts" / str(restarts())


def begin_restart(run_directory: Path) -> Path:
    """The directory of a restart, which shares the checkpoints of the starts before."""
    directory, shared = restart_directory(run_directory), checkpoints_of(run_directory)
    for path in (directory, shared):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    own = checkpoints_of(directory)
    if not own.exists():
        own.symlink_to(shared)
    return directory


def current_directory(run_directory: Path) -> Path:
    """Where the latest start of the run keeps its record."""
    begun = [path.parent for path in run_directory.glob("restarts/*/events.jsonl")]
    return max(begun, key=lambda path: int(path.name), default=run_directory)


def cancel(job: str) -> None:
    """Have Slurm end the job, whether it waits or runs.

    Raises:
        ResourceError: Slurm does not take the order.
    """
    slurm_says("scancel", job)


def follow(job: str, run_directory: Path) -> Iterator[Event | JobState | Job]:
    """What happens, as it does: the job's states, the events of its run, and at last the job as it ended."""
    current, tail = run_directory, EventTail(run_directory)
    told: JobState | None = None
    pause_s, due = _LOOK_EVERY_S[0], 0.0
    while True:
        events = tail.read()
        if (latest := current_directory(run_directory)) != current:
            current, tail = latest, EventTail(latest)
            events += tail.read()
        untold = told is None or told.state != "RUNNING"
        # It runs, or it ran and ended between two looks: that is told before what it did.
        if events and untold and (runs := _where_it_runs(job)):
            told = runs
            yield told
        yield from events
        if any(event["kind"] == "run.finished" for event in events):
            pause_s, due = _LOOK_EVERY_S[0], 0.0
        if time.monotonic() >= due:
            seen = _look_at(job)
            if isinstance(seen, Job):
                yield from tail.read()
                yield seen
                return
            if seen != told:
                yield seen
                told, pause_s = seen, _LOOK_EVERY_S[0]
            due, pause_s = time.monotonic() + pause_s, min(pause_s * 1.5, _LOOK_EVERY_S[1])
        time.sleep(_EVENTS_EVERY_S)


def _where_it_runs(job: str) -> JobState | None:
    """That a job runs whose run is at work; None if Slurm knows no nodes of it."""
    try:
        seen = _details(job)
    except ResourceError:
        return None
    return JobState("RUNNING", _on_nodes(seen)) if seen.nodes else None


def _details(job: str) -> Job:
    return parse_job(slurm_says("scontrol", "show", "job", "--details", job))


def _on_nodes(job: Job) -> str:
    return f"on {','.join(node.name for node in job.nodes)}"


def _look_at(job: str) -> JobState | Job:
    """The job once it has ended, else how it stands. That Slurm gives no answer just now is told like a state."""
    try:
        seen = _details(job)
    except ResourceError as error:
        if "Invalid job id" in str(error):
            return forgotten(job)
        return JobState("state unknown", str(error).splitlines()[0])
    if seen.ended:
        return seen
    return JobState(seen.state, _on_nodes(seen) if seen.nodes else why_it_waits(seen.reason))
