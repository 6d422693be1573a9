"""The time limit of the job that this process runs in, and the job's way back into the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deeprc.errors import ResourceError
from deeprc.journal import read_run
from deeprc.pilots.slurm import Job, parse_job
from deeprc.pilots.slurm_pilot import slurm_says
from deeprc.pilots.slurm_submission import grace_s, lead_s
from deeprc.workspace import checkpoints_of

# After a job has been put back, until Slurm ends the processes of its last start.
_ENDED_S = 120.0

# Of each file of a checkpoint: when it was written, in ns, and its bytes.
Files = dict[Path, tuple[int, int]]


class Limit:
    """When a job ends, and how long before that its run is to stop."""

    def __init__(self, job: str, stop_before_s: float | None) -> None:
        self._job = job
        self._end_time = self._asked()
        self._lead_s = lead_s(stop_before_s, self.left_s())

    def left_s(self) -> float | None:
        """Seconds to the time limit; None if there is none, or Slurm does not say."""
        return None if self._end_time is None else self._end_time - time.time()

    def grace_s(self) -> float:
        """How long tasks have if they are told now."""
        return grace_s(self._lead_s, self.left_s())

    @contextmanager
    def watched(self, stop: Callable[[], None]) -> Iterator[None]:
        """Within it `stop` is called when it is time, from another thread, in case Slurm's signal does not come."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(stop, over), name="deeprc-limit", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()

    def _watch(self, stop: Callable[[], None], over: threading.Event) -> None:
        while (left := self.left_s()) is not None:
            if over.wait(max(left - self._lead_s, 0.0)):
                return
            before, self._end_time = self._end_time, self._asked() or self._end_time
            if before == self._end_time:
                stop()
                return

    def _asked(self) -> float | None:
        """When the job ends: an administrator may have given it more time."""
        with suppress(ResourceError):
            return job_now(self._job).end_time
        return None


def job_now(job: str) -> Job:
    """A job as Slurm describes it now.

    Raises:
        ResourceError: it does not.
    """
    return parse_job(slurm_says("scontrol", "show", "job", "--details", job))


def checkpoint_files(run_directory: Path) -> Files:
    """The files that tasks of a run have written to go on from."""
    found: Files = {}
    for folder in checkpoints_of(run_directory).glob("[!.]*"):
        for path in folder.rglob("*"):
            with suppress(OSError):
                found[path] = (path.stat().st_mtime_ns, path.stat().st_size)
    return found


def got_further(record: Path, before: Files, after: Files) -> bool:
    """Whether a run has finished a task, or written a checkpoint."""
    return before != after or any(True for _ in read_run(record).of_kind("task.finished"))


def put_back(job: str) -> None:
    """Have Slurm start the job again, which ends this process.

    Raises:
        ResourceError: Slurm does not take the order, with what it says.
    """
    slurm_says("scontrol", "requeue", job)
    time.sleep(_ENDED_S)
