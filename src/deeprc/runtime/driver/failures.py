"""From what an agent saw to the error that the user gets."""

from __future__ import annotations

import linecache
import re
from dataclasses import replace
from typing import Any, TypedDict

from deeprc.errors import (
    AgentLostError,
    MemoryExceededError,
    RankDiedError,
    StuckCollectiveError,
    TaskError,
    TaskFailedError,
    TaskTimeoutError,
)
from deeprc.runtime.link.messages import Failure
from deeprc.runtime.link.whereabouts import described


class _Place(TypedDict):
    task: str
    rank: int | None
    node: str | None


_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+)')


def with_source(failure: Failure) -> Failure:
    """The failure with the lines of code that its ranks could not read: those of a notebook's cells, which only the
    process of the notebook has.
    """
    lines = failure.traceback.splitlines()
    shown = []
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        shown.append(line)
        frame = _FRAME.match(line)
        if frame and not following.startswith("    "):
            code = linecache.getline(frame["file"], int(frame["line"])).strip()
            shown += [f"    {code}"] if code else []
    return replace(failure, traceback="\n".join(shown)) if len(shown) > len(lines) else failure


def error_for(task: str, failure: Failure) -> TaskError:
    """The error of the visible tree, with all that is known in its message."""
    place = _Place(task=task, rank=failure.rank, node=failure.node)
    where = f"task {task!r}, rank {failure.rank} on {failure.node}"
    what = f"{where}: {_what_happened(failure)}"
    output = f"\nIts last output:\n{failure.output}" if failure.output else "\nIt had written no output."
    whereabouts = {at.rank: at.text for at in failure.whereabouts}
    match failure.kind:
        case "raised":
            message = f"{where}: {failure.message}\n\n{failure.traceback}".rstrip()
            return TaskFailedError(message, **place, traceback=failure.traceback)
        case "lost":
            return AgentLostError(f"task {task!r}: {failure.message}", **place)
        case "memory":
            return MemoryExceededError(
                f"{where}: {failure.message}. Give the task more memory=, or each rank less data.{output}",
                **place,
                output=failure.output,
                peak_bytes=failure.peak_memory_bytes,
                limit_bytes=failure.memory_limit_bytes,
            )
        case "stuck":
            return StuckCollectiveError(f"{what}{output}", **place, whereabouts=whereabouts)
        case "timeout":
            return TaskTimeoutError(f"{what}{output}", **place, output=failure.output, whereabouts=whereabouts)
    return RankDiedError(
        f"{what}.{output}", **place, signal=failure.signal, exit_code=failure.exit_code, output=failure.output
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
        "log": failure.log,
        "signal": failure.signal,
        "exit_code": failure.exit_code,
    }


def why_again(failure: Failure) -> str:
    """Why a task that has begun on no rank is started again, in one line and what the library said."""
    if failure.kind != "unjoined":
        return failure.message
    output = f"\nIts last output:\n{failure.output}" if failure.output else ""
    return f"rank {failure.rank} on {failure.node} {failure.message}{output}"


def _what_happened(failure: Failure) -> str:
    late = f"; ranks still running: {list(failure.late)}" if failure.late else ""
    where = f". Where its ranks were:\n{described(failure.whereabouts)}" if failure.whereabouts else ""
    return f"{failure.message}{late}{where}"
