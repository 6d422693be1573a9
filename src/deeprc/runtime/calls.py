"""Functions and arguments on their way to a rank; results of other tasks are filled in there."""

from __future__ import annotations

import io
import pickle
import types
from collections import ChainMap
from collections.abc import Callable
from typing import Any, ClassVar

import cloudpickle

from deeprc.errors import SpecError
from deeprc.runtime.packing import unpacked

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def _code_with_file(code: types.CodeType) -> tuple[Any, ...]:
    """As cloudpickle writes code, but with its file: a traceback then shows the user's own lines."""
    make, arguments = cloudpickle.cloudpickle._code_reduce(code)
    return _make_code, (code.co_filename, make, arguments)


def _make_code(filename: str, make: Callable[..., types.CodeType], arguments: tuple[Any, ...]) -> types.CodeType:
    return make(*arguments).replace(co_filename=filename)


class _CallPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Writes a future, wherever it is nested, as the id of its task."""

    dispatch_table: ClassVar[Any] = ChainMap({types.CodeType: _code_with_file}, cloudpickle.Pickler.dispatch_table)

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.needs: dict[str, None] = {}

    def persistent_id(self, obj: Any) -> str | None:
        task = getattr(type(obj), "__deeprc_future__", None) and obj.task
        if not task:
            return None
        self.needs[task] = None
        return str(task)


class _CallUnpickler(pickle.Unpickler):
    """Reads a call, asking `results` for what other tasks returned."""

    def __init__(self, file: io.BytesIO, results: dict[str, bytes]) -> None:
        super().__init__(file)
        self._results = results
        self._loaded: dict[str, Any] = {}

    def persistent_load(self, pid: str) -> Any:
        if pid not in self._loaded:
            self._loaded[pid] = pickle.loads(unpacked(self._results[pid]))
        return self._loaded[pid]


def pickle_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bytes, tuple[str, ...]]:
    """Return the pickled call and the tasks whose results it needs.

    Raises:
        SpecError: the function or an argument cannot be sent to another process.
    """
    buffer = io.BytesIO()
    pickler = _CallPickler(buffer)
    try:
        pickler.dump((function, args, kwargs))
    except Exception as error:
        raise SpecError(
            f"{getattr(function, '__name__', function)!s} or one of its arguments cannot be sent to a rank: {error}. "
            "Open files, locks, sockets and generators have to be made inside the function."
        ) from error
    return buffer.getvalue(), tuple(pickler.needs)


def unpickle_call(call: bytes, results: dict[str, bytes]) -> Call:
    """The call with every future replaced by its task's result."""
    loaded: Call = _CallUnpickler(io.BytesIO(call), results).load()
    return loaded
