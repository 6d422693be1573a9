"""The names of a session's tasks, no two alike: those that were asked for, and others made of the function's."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable
from typing import Any

from deeprc.errors import SpecError
from deeprc.spec.task import TaskSpec

# Files and folders are named after tasks: what else stands in a function's name is left out.
_NOT_IN_A_NAME = re.compile(r"[^\w.-]+")
_LONGEST_BASE = 100


class TaskNames:
    """Gives each task its name; may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Names that tasks were given; the others follow from the counters.
        self._names: set[str] = set()
        self._counters: dict[str, itertools.count[int]] = {}
        self._counted: dict[str, int] = {}

    def new(self, function: Callable[..., Any], name: str | None) -> str:
        """A task's name: the one asked for, or the function's, numbered.

        Raises:
            SpecError: the name is taken, or none that a task may have.
        """
        with self._lock:
            if name is not None:
                if name in self._names or self._was_counted(name):
                    raise SpecError(f"this session already has a task {name!r}; names are unique: choose another")
                self._names.add(TaskSpec(name=name, function="checked:name").name)
                return name
            base = _base(function)
            counter = self._counters.setdefault(base, itertools.count(1))
            while (candidate := base if (number := next(counter)) == 1 else f"{base}-{number}") in self._names:
                continue
            self._counted[base] = number
            return candidate

    def _was_counted(self, name: str) -> bool:
        """Whether a task without a name of its own has got this one."""
        base, _, number = name.rpartition("-")
        return name in self._counted or (number.isdecimal() and 1 < int(number) <= self._counted.get(base, 0))


def _base(function: Callable[..., Any]) -> str:
    name = str(getattr(function, "__name__", "")).strip("<>")
    return _NOT_IN_A_NAME.sub("-", name)[:_LONGEST_BASE].lstrip("-.") or "task"
