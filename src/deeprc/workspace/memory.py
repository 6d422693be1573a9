"""How much memory a process may use while it works."""

from __future__ import annotations

_memory: int | None = None


def set_memory_budget(memory_bytes: int | None) -> None:
    """Work within so many bytes from now on; None, as at the start of a process: as many as it takes.

    What counts is memory that only this process holds: anonymous and shared memory, not mapped files. A run's
    ranks set it from the `memory=` of the task, or else from their share of the session's.
    """
    global _memory
    _memory = memory_bytes


def memory_budget() -> int | None:
    """The bytes that this process is to stay within; None: no limit."""
    return _memory
