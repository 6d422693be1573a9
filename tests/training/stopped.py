"""A training in a task that is stopped in the midst of it, and the one that goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deeprc.communicator import Communicator
from deeprc.errors import TaskStoppedError
from deeprc.workspace import set_checkpoints


def stopped_and_resumed(comm: Communicator, train: Callable[..., Any], folder: str, asked: int) -> tuple[str, Any]:
    """What a training says that rank 0 is told to stop at its `asked`-th question, and what it then comes to."""
    questions = iter(range(1, 1000))
    set_checkpoints(Path(folder), "task", lambda: comm.rank == 0 and next(questions) >= asked)
    said = "it was not stopped"
    try:
        train(comm)
    except TaskStoppedError as stopped:
        said = str(stopped)
    set_checkpoints(Path(folder), "task", lambda: False)
    return said, train(comm)
