"""The future of a task: a `concurrent.futures.Future` that may stand in the arguments of other tasks."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any


class Future(concurrent.futures.Future[Any]):
    """What `Session.submit` returns. Passing it to `submit`, however nested, makes one task wait for another."""

    # How a pickler recognises a future without importing this module.
    __deeprc_future__ = True

    def __init__(self, task: str, cancel: Callable[[str], None]) -> None:
        super().__init__()
        self.task = task
        self._request_cancel = cancel

    def cancel(self) -> bool:
        """End the task, waiting or running; its dependents are cancelled with it.

        Returns False if it has already ended.
        """
        if self.done():
            return False
        self._request_cancel(self.task)
        return True

    def __repr__(self) -> str:
        return f"<Future of task {self.task!r}: {self._state.lower()}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            f"the future of task {self.task!r} stands where it cannot be replaced by its result; "
            "pass it as an argument to submit(), not inside a function's global variables"
        )
