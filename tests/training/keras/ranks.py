"""Run a function on N ranks that are forked with TensorFlow loaded, over any communicator."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from typing import Any

import deeprc as rc
from deeprc.spec.imports import imports
from tests.leftovers import at_end


def run_on_tensorflow_ranks(
    function: Callable[..., Any], *args: Any, size: int, backend: str, **kwargs: Any
) -> list[Any]:
    """Call `function(comm, *args)` on `size` ranks of `backend`; return the results in rank order."""
    submitted = _session().submit(_gathered, function, args, kwargs, ranks=size, comm=backend)
    results: list[Any] = submitted.result(timeout=150)
    return results


# Torch is named so that GLOO and MPI ranks come from one zygote, which imports all of it once.
@imports("tensorflow", "keras", "torch")
def _gathered(
    comm: rc.Communicator, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Any]:
    return comm.all_gather(function(comm, *args, **kwargs))


@functools.cache
def _session() -> rc.Session:
    """One session for all tests: its ranks stay warm."""
    directory = at_end.enter_context(tempfile.TemporaryDirectory(prefix="deeprc-keras-"))
    session = rc.Session(cores=3, run_dir=directory)
    at_end.callback(session.close)
    return session
