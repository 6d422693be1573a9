"""Declarations a function can carry: what to import ahead and check before, which folders it reads, what it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from deeprc.spec.signature import signature_of, with_communicator
from deeprc.spec.task import TaskRef

F = TypeVar("F", bound=Callable[..., Any])


def imports(*modules: str) -> Callable[[F], F]:
    """Declare modules that a task function uses, so that its ranks are forked with them loaded.

    Only needed where the runtime cannot see it in the function's own code.
    """

    def declare(function: F) -> F:
        function.__deeprc_imports__ = modules  # type: ignore[attr-defined]
        return function

    return declare


def checked_by(check: Callable[[dict[str, Any]], None]) -> Callable[[F], F]:
    """Run `check(arguments)` when the function is submitted, before any work starts.

    `arguments` holds the arguments that are known by then, by parameter name; those that are results of other
    tasks are left out. The check raises a `deeprc.errors` error to refuse.
    """

    def declare(function: F) -> F:
        function.__deeprc_check__ = check  # type: ignore[attr-defined]
        return function

    return declare


def writes(*parameters: str) -> Callable[[F], F]:
    """Declare parameters that name files which the function writes: what lies there is no input of its task."""

    def declare(function: F) -> F:
        function.__deeprc_writes__ = parameters  # type: ignore[attr-defined]
        return function

    return declare


def reads(*parameters: str) -> Callable[[F], F]:
    """Declare parameters that name folders which the function reads: the files below are inputs of its task.

    Files, and those that match a pattern with `*`, are so anyway; of a folder nobody else knows which way it is used.
    """

    def declare(function: F) -> F:
        function.__deeprc_reads__ = parameters  # type: ignore[attr-defined]
        return function

    return declare


def folders_read(function: Callable[..., Any], known: Mapping[str, Any]) -> list[Any]:
    """What a call of the function is given for the parameters that name folders to be read."""
    return [known.get(name) for name in getattr(function, "__deeprc_reads__", ())]


def without_written(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments but for those that name what the function writes."""
    written = getattr(function, "__deeprc_writes__", ())
    return {name: value for name, value in kwargs.items() if name not in written}


def written_files(function: Callable[..., Any], known: Mapping[str, Any]) -> list[Path]:
    """The files that a call of the function writes, by arguments by name of their parameter."""
    given = [known.get(name) for name in getattr(function, "__deeprc_writes__", ())]
    return [Path(path) for path in given if isinstance(path, str | Path)]


def known_arguments(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name, defaults included; those that hold results of tasks are left out."""
    args, kwargs = with_communicator(function, None, args, kwargs)
    bound = signature_of(function).bind_partial(*args, **kwargs)
    bound.apply_defaults()
    return {name: value for name, value in bound.arguments.items() if not _holds_result(value)}


def _holds_result(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_result(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_result(item) for item in value)
    return isinstance(value, TaskRef) or hasattr(type(value), "__deeprc_future__")
