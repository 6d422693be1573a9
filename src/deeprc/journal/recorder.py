"""How code inside a task speaks to the journal without knowing who writes it.

A rank installs a sink; without one (a function called outside any run) recording does nothing, so user
code and library code are the same in both cases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Sink = Callable[[str, dict[str, Any]], None]

_sink: Sink | None = None


def set_sink(sink: Sink | None) -> None:
    """Send what this process records to `sink(kind, fields)`; None stops it."""
    global _sink
    _sink = sink


def record(kind: str, **fields: Any) -> None:
    """Record an event of the running task; `fields` must be JSON values. See `events.py` for the kinds."""
    if _sink is not None:
        _sink(kind, fields)


def progress(done: float, total: float, message: str = "") -> None:
    """Say how far the running task is: `deeprc run` shows it live."""
    record("progress", done=_plain(done), total=_plain(total), message=str(message))


def _plain(number: float) -> float:
    """A library's number (a tensor's, NumPy's) as Python's own: who reads the event should not need the library."""
    return number if type(number) in (int, float) else float(number)
