"""Functions and arguments on their way to a rank; results of other tasks are filled in there."""

from __future__ import annotations

import io
import pickle
import threading
import types
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PosixPath
from typing import Any, ClassVar

import cloudpickle

from deeprc.errors import SpecError
from deeprc.runtime.future import Future, collecting
from deeprc.runtime.packing import unpacked

# What the standard pickler writes as cloudpickle would: nothing of these is found by the name of a module.
_PLAIN = frozenset({int, float, complex, str, bytes, bool, type(None), PosixPath, Future})
_NO_ARGUMENTS = pickle.dumps(((), {}), pickle.HIGHEST_PROTOCOL)
_local = threading.local()


def _code_with_file(code: types.CodeType) -> tuple[Any, ...]:
    """As cloudpickle writes code, but with its file: a traceback then shows the user's own lines."""
    make, arguments = cloudpickle.cloudpickle._code_reduce(code)
    return _make_code, (code.co_filename, make, arguments)


def _make_code(filename: str, make: Callable[..., types.CodeType], arguments: tuple[Any, ...]) -> types.CodeType:
    return make(*arguments).replace(co_filename=filename)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Any] = ChainMap({types.CodeType: _code_with_file}, cloudpickle.Pickler.dispatch_table)


def pickle_function(function: Callable[..., Any]) -> tuple[bytes, tuple[Future, ...]]:
    """Return the pickled function and the futures that it holds, in a closure or a global variable.

    Raises:
        SpecError: it cannot be sent to another process.
    """
    with collecting() as needs, _refusing(function):
        return _dumps(function), tuple(needs)


def pickle_arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bytes, tuple[Future, ...]]:
    """Return the pickled arguments, and the futures among them, which stand for results of their tasks.

    Raises:
        SpecError: an argument cannot be sent to another process.
    """
    if not args and not kwargs:
        return _NO_ARGUMENTS, ()
    plain = all(map(_is_plain, args)) and (not kwargs or all(map(_is_plain, kwargs.values())))
    with collecting() as needs, _refusing(function):
        arguments = (args, kwargs)
        dumped = pickle.dumps(arguments, pickle.HIGHEST_PROTOCOL) if plain else _dumps(arguments)
        return dumped, tuple(needs)


def _dumps(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    return kind is dict and all(map(_is_plain, value)) and all(map(_is_plain, value.values()))


@contextmanager
def _refusing(function: Callable[..., Any]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise SpecError(
            f"{getattr(function, '__name__', function)!s} or one of its arguments cannot be sent to a rank: {error}. "
            "Open files, locks, sockets and generators have to be made inside the function."
        ) from error


@contextmanager
def filling_in(results: Mapping[str, bytes]) -> Iterator[None]:
    """While this lasts, what is unpickled in this thread has the results of tasks in place of their futures.

    A result is loaded once, however often the call refers to it.
    """
    _local.results, _local.loaded = results, {}
    try:
        yield
    finally:
        _local.results, _local.loaded = {}, {}


def result_of(task: str) -> Any:
    """Stands in a pickled call where a future stood."""
    if task not in _local.loaded:
        _local.loaded[task] = pickle.loads(unpacked(_local.results[task]))
    return _local.loaded[task]
