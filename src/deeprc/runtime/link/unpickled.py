"""What pickled calls refer to on a rank: results of other tasks, and code with its file."""

from __future__ import annotations

import pickle
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from deeprc.runtime.link.packing import unpacked

_local = threading.local()


@contextmanager
def filling_in(results: Mapping[str, bytes]) -> Iterator[None]:
    """While this lasts, what is unpickled in this thread has the results of tasks in place of their futures.

    `results` are packed, by the names of their tasks. One is loaded once, however often the call refers to it.
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


def code_with_file(filename: str, make: Callable[..., types.CodeType], arguments: tuple[Any, ...]) -> types.CodeType:
    """Stands in a pickled function where its code stood: cloudpickle leaves out which file it is from."""
    return make(*arguments).replace(co_filename=filename)
