"""Signals to a run, to end in good order, at once or soon; and a word to whoever waits for it to begin."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

IMPORTING = "Checking the pipeline: importing its functions' modules..."


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Within it SIGTERM, as batch systems send it, is like Ctrl-C: processes are ended, the record is closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stops_when_told(stop: Callable[[], None]) -> Iterator[None]:
    """Within it SIGUSR1, as batch systems send it some time before a job's limit, calls `stop`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGUSR1, lambda *_: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def told_if_slow(text: str, after_s: float = 3.0) -> Iterator[None]:
    """Say on standard error what takes so long, if it takes longer than that."""
    timer = threading.Timer(after_s, print, (text,), {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
