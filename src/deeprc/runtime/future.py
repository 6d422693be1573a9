"""The future of a task: a `concurrent.futures.Future` that may stand in the arguments of other tasks."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_SLICE_S = 0.25


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

    def result(self, timeout: float | None = None) -> Any:
        """The task's result, or its error raised. `timeout` in seconds, then TimeoutError."""
        return _in_slices(super().result, timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The task's error, or None. `timeout` in seconds, then TimeoutError."""
        return _in_slices(super().exception, timeout)

    def __repr__(self) -> str:
        return f"<Future of task {self.task!r}: {self._state.lower()}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            f"the future of task {self.task!r} stands where it cannot be replaced by its result; "
            "pass it as an argument to submit(), not inside a function's global variables"
        )


def _in_slices(wait: Callable[[float], T], timeout: float | None) -> T:
    """Wait in slices, between which Python sees a Ctrl-C.

    Polars handles SIGINT in a way that restarts a waiting lock, so one long wait could not be interrupted.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _SLICE_S if deadline is None else min(_SLICE_S, deadline - time.monotonic())
        try:
            return wait(max(left, 0.0))
        except TimeoutError:
            if deadline is not None and time.monotonic() >= deadline:
                raise
