"""The traceback of a task's error, as the author of the function wants to see it."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from deeprc.errors import DeepRCError

_DEEPRC = f"{Path(__file__).parents[2]}/"
_STANDARD = f"{sysconfig.get_path('stdlib')}/"


def users_traceback(error: BaseException) -> str:
    """The traceback from the task's function on.

    An error that says what is wrong, of Deep RC or Polars, ends at the line which called them: how they found out tells
    nothing. Empty if no line of anyone else's is left.
    """
    told = traceback.TracebackException.from_exception(error)
    frames = _from_function(told.stack)
    kept = _up_to_call(frames) if _says_what_is_wrong(error) else frames
    if not kept and isinstance(error, DeepRCError):
        return ""
    if kept and len(kept) < len(frames):
        told.__cause__ = told.__context__ = None
        frames = kept
    told.stack = traceback.StackSummary.from_list(frames)
    return "".join(told.format())


def _from_function(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    """Without the lines of the rank's own loop, by which the function was called."""
    frames = list(stack)
    while len(frames) > 1 and frames[0].filename.startswith(f"{_DEEPRC}runtime/"):
        del frames[0]
    return frames


def _up_to_call(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    kept = list(frames)
    while kept and _is_inside(kept[-1].filename):
        kept.pop()
    return kept


def _says_what_is_wrong(error: BaseException) -> bool:
    return isinstance(error, DeepRCError) or type(error).__module__.startswith("polars.")


def _is_inside(file: str) -> bool:
    if "/site-packages/" in file.removeprefix(_DEEPRC):
        return file.startswith(_DEEPRC) or "/site-packages/polars/" in file
    return file.startswith((_DEEPRC, _STANDARD))
