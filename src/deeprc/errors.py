"""Every error that Deep RC raises: what happened, which values are valid, what to do.

`retryable` says whether `retries=` on a task applies: a rank that was killed may well succeed on a fresh
one, an exception in the user's function will be the same again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class DeepRCError(Exception):
    """Root of the tree: `except deeprc.DeepRCError` catches all that Deep RC itself raises."""

    retryable: bool = False


class SpecError(DeepRCError, ValueError):
    """A session, task or pipeline was described wrongly; refused before any work starts."""


class ResourceError(SpecError):
    """A task asks for more ranks, GPUs or memory than the allocation has."""


class DataError(DeepRCError, ValueError):
    """A file, column or value is not what it has to be; names the file, row or field."""


class MissingDependencyError(DeepRCError, ImportError):
    """An optional part is not installed; the message gives the command that brings it."""


class CommunicatorError(DeepRCError, RuntimeError):
    """A communicator could not be built, or was used after its task had ended."""


class MpiWorldError(CommunicatorError):
    """The ranks of a task did not come up as one MPI world; `deeprc doctor --check` tries the MPI library."""


class JournalError(DeepRCError, RuntimeError):
    """A run directory is absent, unreadable or not a run's."""


class JobError(DeepRCError, RuntimeError):
    """The site ended the job of a run: at its time limit, by a cancellation, with a node. The message says why."""


class SessionClosedError(DeepRCError, RuntimeError):
    """Work was submitted to a session that has ended."""


class TaskError(DeepRCError, RuntimeError):
    """A task did not finish. `task` names it; `rank` and `node` say where, when one rank is to blame."""

    def __init__(self, message: str, *, task: str, rank: int | None = None, node: str | None = None) -> None:
        super().__init__(message)
        self.task = task
        self.rank = rank
        self.node = node


class TaskFailedError(TaskError):
    """The user's function raised. `traceback` is the user's, from the rank that raised first."""

    def __init__(
        self,
        message: str,
        *,
        task: str,
        rank: int | None = None,
        node: str | None = None,
        traceback: str = "",
    ) -> None:
        super().__init__(message, task=task, rank=rank, node=node)
        self.traceback = traceback


class RankDiedError(TaskError):
    """A rank ended without a result. `signal` or `exit_code` says how, `output` holds its last lines."""

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        task: str,
        rank: int | None = None,
        node: str | None = None,
        signal: str | None = None,
        exit_code: int | None = None,
        output: str = "",
    ) -> None:
        super().__init__(message, task=task, rank=rank, node=node)
        self.signal = signal
        self.exit_code = exit_code
        self.output = output


class MemoryExceededError(RankDiedError, MemoryError):
    """A rank held more than its task's `memory` and was ended. The same call would need as much again: no retry.

    `peak_bytes` is what it held, `limit_bytes` what it might.
    """

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        task: str,
        rank: int | None = None,
        node: str | None = None,
        output: str = "",
        peak_bytes: int = 0,
        limit_bytes: int = 0,
    ) -> None:
        super().__init__(message, task=task, rank=rank, node=node, output=output)
        self.peak_bytes = peak_bytes
        self.limit_bytes = limit_bytes


class TaskTimeoutError(RankDiedError, TimeoutError):
    """A task ran past its `timeout`; its ranks were ended. `whereabouts` says in words where each of them was."""

    def __init__(
        self,
        message: str,
        *,
        task: str,
        rank: int | None = None,
        node: str | None = None,
        output: str = "",
        whereabouts: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(message, task=task, rank=rank, node=node, output=output)
        self.whereabouts = dict(whereabouts or {})


class StuckCollectiveError(TaskError):
    """Ranks waited in a collective for a peer whose function had returned: it could never come. No retry.

    `whereabouts` says in words where each rank was: the operation, and the line of your code.
    """

    def __init__(
        self,
        message: str,
        *,
        task: str,
        rank: int | None = None,
        node: str | None = None,
        whereabouts: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(message, task=task, rank=rank, node=node)
        self.whereabouts = dict(whereabouts or {})


class DependencyFailedError(TaskError):
    """A task was cancelled because one that it needs did not finish."""


class TaskStoppedError(TaskError):
    """A task has not been done because its run stops; `deeprc run --resume` does it, from its checkpoint if it has one.

    A task's own function raises it, once it has written one: `raise rc.TaskStoppedError("after epoch 3")`.
    """

    def __init__(self, message: str = "it has been stopped", *, task: str = "") -> None:
        super().__init__(message, task=task)


class AgentLostError(TaskError):
    """The agent of a node went away, and with it the ranks it held."""

    retryable = True


def valid_values(given: str, valid: Iterable[str], *, noun: str) -> str:
    """Say which values are valid, the nearest first: the second half of most refusals."""
    names = sorted(valid)
    if not names:
        return f"There is no {noun} to choose from."
    close = difflib.get_close_matches(given, names, n=1)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return f"{guess}Valid {noun}s: {', '.join(names)}."
