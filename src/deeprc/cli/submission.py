"""Running a pipeline where the user asked for it: here, or in a job of Slurm that is submitted and followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from deeprc.errors import JobError, SpecError
from deeprc.spec import Pipeline

if TYPE_CHECKING:
    from deeprc.cli.views import View
    from deeprc.journal.events import Event
    from deeprc.pilots.slurm import Job
    from deeprc.pilots.slurm_job import JobState

Nodes = Annotated[int | None, typer.Option(min=1, help="Nodes; default: the file's, or all the pilot has.")]
Time = Annotated[str | None, typer.Option(help="Time limit of the job, such as 2h or 2:00:00.", show_default=False)]
Partition = Annotated[str | None, typer.Option(help="Partition of the job.")]
Account = Annotated[str | None, typer.Option(help="Account that the job is charged to.")]
Qos = Annotated[str | None, typer.Option("--qos", help="Quality of service of the job.")]
SbatchOptions = Annotated[
    list[str] | None,
    typer.Option("--sbatch-option", metavar="NAME=VALUE", help="Any other option of sbatch; may be repeated."),
]
StopBefore = Annotated[
    str | None,
    typer.Option("--stop-before", metavar="T", help="How long before the time limit the run stops; default: 2m."),
]
Requeues = Annotated[
    int | None,
    typer.Option(min=0, help="How often a job stopped so goes back into the queue by itself; default: 10."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Submit the job and do not follow it.")]


def asked_session(
    *,
    pilot: str | None,
    cores: int | None,
    nodes: int | None,
    time: str | None,
    options: Mapping[str, str | None],
    sbatch_options: list[str] | None,
    stop_before: str | None = None,
    requeues: int | None = None,
) -> dict[str, Any]:
    """Fields of a SessionSpec as the command line gives them; None where it says nothing.

    Raises:
        SpecError: a time or an option that cannot be read.
    """
    from deeprc.cli.run import parse_settings
    from deeprc.spec.quantities import walltime_seconds

    try:
        time_s = walltime_seconds(time)
    except ValueError as error:
        raise SpecError(f"--time {error}, or as Slurm writes it, '2:00:00'") from None
    given = {name: value for name, value in options.items() if value is not None}
    given |= parse_settings(sbatch_options or [], option="--sbatch-option")
    return {
        "pilot": pilot,
        "cores": cores,
        "nodes": nodes,
        "time_s": time_s,
        "stop_before_s": stop_before,
        "requeues": requeues,
        "options": given or None,
    }


def run_or_submit(
    pipeline: Pipeline,
    *,
    asked: Mapping[str, Any],
    detach: bool = False,
    run_directory: Path | None = None,
    resume: Path | None = None,
    out: Path | None = None,
) -> int:
    """Run a checked pipeline, or submit it to Slurm and follow it; returns the exit code.

    Raises:
        SpecError: refused before any work: `asked` has what only a job can have, and none will be submitted.
        KeyboardInterrupt: the run, or the job, has been ended.
    """
    from deeprc.cli.execution import execute
    from deeprc.cli.job_run import run_in_job
    from deeprc.pilots import slurm_job

    job = slurm_job.inside_a_job()
    if pipeline.session.pilot == "slurm" and job is None:
        return submit(pipeline, run_directory=run_directory, resume=resume, out=out, detach=detach)
    takes_them = pipeline.session.pilot.partition(":")[0] == "radical"
    if detach or ((asked.get("time_s") or asked.get("options")) and not takes_them):
        why = f"this is job {job} already" if job else f"the pilot {pipeline.session.pilot!r} submits none"
        raise SpecError(f"--time, --detach and options of sbatch are for a job that is submitted, and {why}")
    if job:
        return run_in_job(pipeline, job, run_directory=run_directory, resume=resume, out=out)
    return execute(pipeline, run_directory=run_directory, resume=resume, out=out)


def submit(
    pipeline: Pipeline, *, run_directory: Path | None, resume: Path | None, out: Path | None, detach: bool
) -> int:
    """Submit the run as a job, and follow it unless told otherwise."""
    from deeprc.cli.notices import IMPORTING, told_if_slow
    from deeprc.cli.views import console_for_results
    from deeprc.pilots import slurm_job

    with told_if_slow(IMPORTING):
        pipeline.functions()
    if run_directory and (run_directory / "events.jsonl").exists():
        raise SpecError(f"{run_directory} already holds a run; give --run-dir a new directory, or leave it out")
    job, directory = slurm_job.submit(pipeline, run_directory, out, resume=resume)
    console = console_for_results()
    console.print(f"Job {job} submitted; its run: {directory}", soft_wrap=True, highlight=False)
    if detach:
        _tell_how_to_follow(job, directory, console)
        return 0
    return follow(job, directory, out, console)


def _tell_how_to_follow(job: str, directory: Path, console: Console) -> None:
    console.print(f"Follow it: deeprc follow {directory}\nEnd it:    scancel {job}", soft_wrap=True, highlight=False)


def follow(job: str, run_directory: Path, out: Path | None, console: Console, *, cancels: bool = True) -> int:
    """Show the job's states and its run's progress until it has ended; returns the exit code of the run.

    At Ctrl-C the job is cancelled, or, without `cancels`, left to itself.

    Raises:
        KeyboardInterrupt: the job has been cancelled.
        JobError: Slurm ended the job, and says why.
    """
    from deeprc.cli.execution import tell_outcome
    from deeprc.cli.progress import Progress
    from deeprc.cli.views import view_for
    from deeprc.pilots import slurm_job

    progress = Progress()
    try:
        with view_for(console, progress) as view:
            ended = _shown(slurm_job.follow(job, run_directory), job, view, console)
    except KeyboardInterrupt:
        if not cancels:
            console.print(f"Job {job} goes on.", highlight=False)
            _tell_how_to_follow(job, run_directory, console)
            return 0
        console.print(f"Cancelling job {job}; Ctrl-C again leaves it to itself.", highlight=False)
        slurm_job.cancel(job)
        for _ in slurm_job.follow(job, run_directory):
            continue
        raise
    if progress.tasks:
        tell_outcome(console, progress, slurm_job.current_directory(run_directory), out or run_directory)
    return _exit_code(ended, progress.status, run_directory / slurm_job.LOG_FILE, console)


def _shown(news_of: Iterator[Event | JobState | Job], job: str, view: View, console: Console) -> Job:
    """The job as it ended, once all that it had to tell has been shown."""
    from deeprc.pilots.slurm import Job
    from deeprc.pilots.slurm_job import JobState

    for news in news_of:
        if isinstance(news, Job):
            return news
        if isinstance(news, JobState):
            console.print(f"Job {job}: {news.state} ({news.reason})", soft_wrap=True, highlight=False)
        else:
            view.show(news)
    raise AssertionError("what follows a job ends with the job's end")


def _exit_code(job: Job, status: str, log: Path, console: Console) -> int:
    """The exit code of the job's run, whose status is as the journal last had it."""
    from deeprc.cli.execution import STOPPED
    from deeprc.pilots.slurm_submission import outcome

    code, words = outcome(job)
    own = _EXIT_CODES.get(status, ())
    code = own[0] if own and code is None and job.state == "FORGOTTEN" else code
    if code is None or (code != 0 and code not in own):
        raise JobError(f"job {job.id} {words}. {last_words(log)}")
    if code == STOPPED:
        # Why it was not put back into the queue.
        console.print(last_words(log), soft_wrap=True, highlight=False, markup=False)
    return code


# Of a run, by its status; a job with another one did not end as its run did.
_EXIT_CODES = {"succeeded": (0,), "failed": (1, 75), "interrupted": (130, 75)}


def last_words(log: Path) -> str:
    """What a job's log says at its end."""
    if not log.is_file():
        return f"It wrote no {log}: do compute nodes share that file system?"
    lines = log.read_text(errors="replace").strip().splitlines()[-10:]
    return "\n".join([f"{log} ends with:", *lines]) if lines else f"{log} is empty."
