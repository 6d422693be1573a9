"""From what an agent saw to the error that the user gets."""

from __future__ import annotations

from typing import Any

from deeprc.errors import (
    AgentLostError,
    MemoryExceededError,
    RankDiedError,
    StuckCollectiveError,
    TaskError,
    TaskFailedError,
    TaskTimeoutError,
)
from deeprc.runtime.messages import Failure
from deeprc.runtime.whereabouts import described


def error_for(task: str, failure: Failure) -> TaskError:
    """The error of the visible tree, with all that is known in its message."""
    where = f"task {task!r}, rank {failure.rank} on {failure.node}"
    if failure.kind == "raised":
        return TaskFailedError(
            f"{where}: {failure.message}\n\n{failure.traceback.rstrip()}",
            task=task,
            rank=failure.rank,
            node=failure.node,
            traceback=failure.traceback,
        )
    if failure.kind == "lost":
        return AgentLostError(f"task {task!r}: {failure.message}", task=task, rank=failure.rank, node=failure.node)
    output = f"\nIts last output:\n{failure.output}" if failure.output else "\nIt had written no output."
    if failure.kind == "memory":
        return MemoryExceededError(
            f"{where}: {failure.message}. Give the task more memory=, or each rank less data.{output}",
            task=task,
            rank=failure.rank,
            node=failure.node,
            output=failure.output,
            peak_bytes=failure.peak_memory_bytes,
            limit_bytes=failure.memory_limit_bytes,
        )
    if failure.kind == "stuck":
        return StuckCollectiveError(
            f"{where}: {_what_happened(failure)}{output}",
            task=task,
            rank=failure.rank,
            node=failure.node,
            whereabouts={place.rank: place.text for place in failure.whereabouts},
        )
    if failure.kind == "timeout":
        return TaskTimeoutError(
            f"{where}: {_what_happened(failure)}{output}",
            task=task,
            rank=failure.rank,
            node=failure.node,
            output=failure.output,
            whereabouts={place.rank: place.text for place in failure.whereabouts},
        )
    return RankDiedError(
        f"{where}: {_what_happened(failure)}.{output}",
        task=task,
        rank=failure.rank,
        node=failure.node,
        signal=failure.signal,
        exit_code=failure.exit_code,
        output=failure.output,
    )


def failure_event(error: TaskError, failure: Failure) -> dict[str, Any]:
    """The fields of a `task.failed` event."""
    return {
        "error": type(error).__name__,
        "message": _what_happened(failure),
        "traceback": failure.traceback,
        "rank": failure.rank,
        "node": failure.node,
        "output": failure.output,
        "signal": failure.signal,
        "exit_code": failure.exit_code,
    }


def _what_happened(failure: Failure) -> str:
    late = f"; ranks still running: {list(failure.late)}" if failure.late else ""
    where = f". Where its ranks were:\n{described(failure.whereabouts)}" if failure.whereabouts else ""
    return f"{failure.message}{late}{where}"
