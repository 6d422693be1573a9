"""What a task needs to be stopped and to go on later: a folder that outlives it, and a word in time.

A run's ranks say where the folder is and how to learn that the run stops; called outside a run a function gets a
temporary folder, and is never stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deeprc import journal
from deeprc.errors import DataError
from deeprc.workspace.scratch import temporary_folder

if TYPE_CHECKING:
    from deeprc.communicator import Communicator


@dataclass
class _Task:
    """The task that this process is at."""

    run_directory: Path | None = None
    name: str = ""
    is_stopping: Callable[[], bool] = lambda: False
    folder: Path | None = None
    parts: Iterator[int] = field(default_factory=itertools.count)


_task = _Task()


def set_checkpoints(run_directory: Path, task: str, is_stopping: Callable[[], bool]) -> None:
    """Begin a task of a run, which asks `is_stopping` whether the run stops."""
    global _task
    _task = _Task(run_directory, task, is_stopping)


def checkpoints_of(run_directory: Path) -> Path:
    """Where the tasks of a run keep their checkpoints, each in a folder of its name."""
    return run_directory / "checkpoints"


def checkpoint_dir() -> Path:
    """The folder of the running task for what it needs to go on, made if it does not exist, one for all its ranks.

    It is there again for a retry of the task, and for a run that resumes this one, if the task's function, arguments
    and inputs are the same. Write under another name and rename: the task may be ended at any moment.

    Outside a run it is a temporary folder that goes away with the process.

    Raises:
        DataError: it cannot be made.
    """
    if _task.folder is None:
        _task.folder = _new_folder()
        # The run notes what the task depends on, so that another run knows whether it may use them.
        journal.record("checkpoint", path=str(_task.folder))
    return _task.folder


def _new_folder() -> Path:
    if _task.run_directory is None:
        return temporary_folder("deeprc-checkpoints-")
    folder = checkpoints_of(_task.run_directory) / _task.name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make {folder}, the folder for checkpoints: {error.strerror}") from error
    return folder


def checkpoint_part() -> Path | None:
    """A folder in `checkpoint_dir()` for the next training of a task; None outside a run, which never goes on later.

    Trainings have their checkpoints by their order in the task: 0, 1, 2...
    """
    if _task.run_directory is None:
        return None
    part = checkpoint_dir() / str(next(_task.parts))
    part.mkdir(mode=0o700, exist_ok=True)
    return part


def stopping(comm: Communicator | None = None) -> bool:
    """Whether the run will end before this task may have: write a checkpoint and raise `TaskStoppedError`.

    Cheap enough to ask at each step. With `comm` it is collective, and all ranks get the same answer: yes, if one of
    them has been told. Without it, ranks may learn of it at different steps.
    """
    told = _task.is_stopping()
    return any(comm.all_gather(told)) if comm is not None and comm.size > 1 else told
