"""A run inside a job of Slurm: it stops before the job's time limit, and the job goes back into the queue."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeprc.cli.execution import STOPPED, Stop, execute
from deeprc.cli.notices import stops_when_told
from deeprc.cli.views import console_for_results
from deeprc.errors import ResourceError
from deeprc.pilots import slurm_job, slurm_limit
from deeprc.pilots.slurm_submission import why_not_again
from deeprc.spec import Pipeline


def run_in_job(
    pipeline: Pipeline, job: str, *, run_directory: Path | None, resume: Path | None, out: Path | None
) -> int:
    """Run a pipeline in this process's job; the exit code is that of `execute`, if the job is not started again."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    limit = slurm_limit.Limit(job, pipeline.session.stop_before_s)

    @contextmanager
    def watch(stop: Stop) -> Iterator[None]:
        def tell() -> None:
            stop(limit.grace_s(), f"the time limit of job {job} comes near, or Slurm has told it to")

        with stops_when_told(tell), limit.watched(tell):
            yield

    run_directory = run_directory and run_directory.absolute()
    directory = run_directory
    if run_directory and slurm_job.restarts():
        # Slurm has started the job again: what had finished is used, the rest runs in a directory of its own.
        earlier = slurm_job.current_directory(run_directory)
        directory = slurm_job.begin_restart(run_directory)
        resume = earlier if (earlier / "events.jsonl").exists() else resume
        out = out or run_directory
    before = slurm_limit.checkpoint_files(run_directory) if run_directory else {}
    code = execute(pipeline, run_directory=directory, resume=resume, out=out, watch=watch)
    if code == STOPPED:
        _go_back(pipeline, job, run_directory, directory, before)
    return code


def _go_back(
    pipeline: Pipeline, job: str, run_directory: Path | None, directory: Path | None, before: slurm_limit.Files
) -> None:
    """Put the job back into the queue, or say why not and how to go on."""
    console = console_for_results()
    try:
        reason = "a restarted job finds its run by --run-dir, which was not given"
        if run_directory and directory:
            after = slurm_limit.checkpoint_files(run_directory)
            further = slurm_limit.got_further(directory, before, after)
            reason = why_not_again(slurm_limit.job_now(job), pipeline.session.requeues, got_further=further) or ""
        if not reason:
            console.print(f"Job {job} goes back into the queue, and resumes this run there.", highlight=False)
            slurm_limit.put_back(job)
            return
    except ResourceError as error:
        reason = str(error)
    where = slurm_job.current_directory(run_directory) if run_directory else "RUN"
    console.print(
        f"Not requeued: {reason}. What is left is done by: deeprc run --resume {where} --on slurm",
        soft_wrap=True,
        highlight=False,
    )
