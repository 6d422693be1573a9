"""The future of a task: a `concurrent.futures.Future` that may stand in the arguments of other tasks."""

from __future__ import annotations

import concurrent.futures
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import InvalidStateError
from contextlib import contextmanager
from typing import Any, TypeVar

from deeprc.errors import DeepRCError
from deeprc.runtime.driver.results import Stored
from deeprc.runtime.link.unpickled import result_of

T = TypeVar("T")
_SLICE_S = 0.25
_ENDED = ("FINISHED", "CANCELLED_AND_NOTIFIED")
# Held while a future's condition is made, and while one that has none ends: nobody begins to wait in between.
_making = threading.Lock()
# Held while a large result is read: by one thread, whoever else waits for it.
_loading = threading.Lock()
_local = threading.local()


class Future(concurrent.futures.Future[Any]):
    """What `Session.submit` returns. Passing it to `submit`, however nested, makes one task wait for another.

    There may be 100,000 of them, most of which nobody waits for while their tasks run: the condition and the
    lists that the base class makes for waiters are made when first asked for.
    """

    # How argument checks recognise a future without importing this module.
    __deeprc_future__ = True

    def __init__(self, task: str, cancel: Callable[[str], None]) -> None:
        # Not the base class's: it makes what waiters need, at three times the time and ten times the memory.
        self.task = task
        self._request_cancel = cancel
        self._state = "PENDING"
        self._result: Any = None
        self._exception: BaseException | None = None
        # The result as tasks that need it get it. It lives as long as this future, or a task that needs it.
        self.packed: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "_condition":
            with _making:
                return self.__dict__.setdefault(name, threading.Condition())
        if name in ("_waiters", "_done_callbacks"):
            return self.__dict__.setdefault(name, [])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def cancel(self) -> bool:
        """End the task, waiting or running; its dependents are cancelled with it.

        Returns False if it has already ended.
        """
        if self.done():
            return False
        self._request_cancel(self.task)
        return True

    def done(self) -> bool:
        return self._state in _ENDED

    def running(self) -> bool:
        return self._state == "RUNNING"

    def result(self, timeout: float | None = None) -> Any:
        """The task's result, or its error raised. `timeout` in seconds, then TimeoutError."""
        if self._state != "FINISHED" or self._exception is not None:
            try:
                _in_slices(super().result, timeout)
            except (DeepRCError, KeyboardInterrupt) as error:
                # How it got here tells nothing: the task's own traceback is in the message.
                raise error.with_traceback(None) from error.__cause__
        return self._loaded() if type(self._result) is Stored else self._result

    def _loaded(self) -> Any:
        """The result, read from its file for the first who asks."""
        with _loading:
            if type(self._result) is Stored:
                try:
                    self._result = self._result.load()
                except Exception as error:
                    raise DeepRCError(f"the result of task {self.task!r} cannot be read: {error}") from error
            return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The task's error, or None. `timeout` in seconds, then TimeoutError."""
        return _in_slices(super().exception, timeout)

    def set_running_or_notify_cancel(self) -> bool:
        self._state = "RUNNING"
        return True

    def set_result(self, result: Any) -> None:
        self._end(result, None)

    def set_exception(self, exception: BaseException | None) -> None:
        self._end(None, exception)

    def _end(self, result: Any, exception: BaseException | None) -> None:
        """Set the outcome, under the condition if there is one, and wake whoever waits."""
        if self.done():
            raise InvalidStateError(f"{self._state}: {self!r}")
        self._result, self._exception = result, exception
        with _making:
            if "_condition" not in self.__dict__:
                self._state = "FINISHED"
                return
        with self._condition:
            self._state = "FINISHED"
            for waiter in self._waiters:
                waiter.add_exception(self) if exception is not None else waiter.add_result(self)
            self._condition.notify_all()
        for callback in self._done_callbacks:
            try:
                callback(self)
            except BaseException:
                # In the driver's thread, which nothing of the user's may end.
                traceback.print_exc()

    def __repr__(self) -> str:
        return f"<Future of task {self.task!r}: {self._state.lower()}>"

    def __reduce__(self) -> Any:
        needs = getattr(_local, "needs", None)
        if needs is None:
            raise TypeError(
                f"the future of task {self.task!r} stands where it cannot be replaced by its result; "
                "pass it as an argument to submit()"
            )
        needs[self] = None
        return result_of, (self.task,)


def is_made_by(future: Future, cancel: Callable[[str], None]) -> bool:
    """Whether a future is of the session that ends tasks by `cancel`: names of tasks are unique in one session only."""
    return future._request_cancel == cancel


@contextmanager
def collecting() -> Iterator[dict[Future, None]]:
    """While this lasts, futures that are pickled in this thread stand for their results, and are collected."""
    needs: dict[Future, None] = {}
    _local.needs = needs
    try:
        yield needs
    finally:
        _local.needs = None


def _in_slices(wait: Callable[[float], T], timeout: float | None) -> T:
    """Wait in slices, between which Python sees a Ctrl-C.

    Polars handles SIGINT in a way that restarts a waiting lock, so one long wait could not be interrupted.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _SLICE_S if deadline is None else min(_SLICE_S, deadline - time.monotonic())
        try:
            return wait(max(left, 0.0))
        except TimeoutError as error:
            # A task past its timeout is a TimeoutError too.
            if type(error) is not TimeoutError:
                raise
            if deadline is not None and time.monotonic() >= deadline:
                raise
