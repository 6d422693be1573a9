"""Functions and arguments pickled for ranks, with the futures among them. Ranks read them with `unpickled`."""

from __future__ import annotations

import io
import pickle
import types
from collections import ChainMap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PosixPath
from typing import Any, ClassVar

import cloudpickle

from deeprc.errors import SpecError
from deeprc.runtime.driver.future import Future, collecting
from deeprc.runtime.link.unpickled import code_with_file

# What the standard pickler writes as cloudpickle would: nothing of these is found by the name of a module.
_PLAIN = frozenset({int, float, complex, str, bytes, bool, type(None), PosixPath, Future})
_NO_ARGUMENTS = pickle.dumps(((), {}), pickle.HIGHEST_PROTOCOL)


def _reduced_code(code: types.CodeType) -> tuple[Any, ...]:
    """As cloudpickle writes code, but with its file: a traceback then shows the user's own lines."""
    make, arguments = cloudpickle.cloudpickle._code_reduce(code)
    return code_with_file, (code.co_filename, make, arguments)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Any] = ChainMap({types.CodeType: _reduced_code}, cloudpickle.Pickler.dispatch_table)


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
