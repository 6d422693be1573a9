"""Checkpoints that tasks of an earlier run have left, and what they depend on.

`checkpoints/TASK/` is the task's own folder, `checkpoints/.TASK.json` the key of what it holds.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from deeprc.journal import write_json
from deeprc.workspace import checkpoints_of


class Checkpoints:
    """Those of a run, and of the earlier one that it resumes. Both may share one folder, as restarts of a job do."""

    def __init__(self, run_directory: Path, earlier: Path | None) -> None:
        self._own = checkpoints_of(run_directory)
        self._earlier = checkpoints_of(earlier) if earlier else None
        self._shared = self._earlier is not None and self._earlier.exists() and self._earlier.samefile(self._own)

    def has(self, task: str) -> bool:
        """Whether the task has left something in the earlier run."""
        return self._earlier is not None and (self._earlier / task).is_dir()

    def key_of(self, task: str) -> dict[str, Any] | None:
        """What it depends on, as noted; None if that is unknown."""
        assert self._earlier is not None
        try:
            key = json.loads((self._earlier / f".{task}.json").read_text())
        except (OSError, ValueError):
            return None
        return key if isinstance(key, dict) else None

    def take(self, task: str) -> None:
        """Give the task what it has left: a copy, since the earlier run stays as it is."""
        if not self._shared:
            assert self._earlier is not None
            shutil.copytree(self._earlier / task, self._own / task)
            # With what it depends on: this run may be over before the task has its turn.
            shutil.copy(self._earlier / f".{task}.json", self._own)

    def put_aside(self, task: str) -> None:
        """Keep what is of no use to the task out of its way."""
        if self._shared:
            (self._own / task).rename(self._own / f".{task}.{time.time_ns()}")

    def note(self, task: str, key: dict[str, Any]) -> None:
        """Write down what a task's checkpoints depend on."""
        write_json(self._own / f".{task}.json", key)
