"""Run a function on N real ranks and get every rank's result: what distributed tests are built on."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from typing import Any

import deeprc as rc
from tests.leftovers import at_end


def run_on_ranks(function: Callable[..., Any], *args: Any, size: int, backend: str = "gloo") -> list[Any]:
    """Call `function(comm, *args)` on `size` ranks of `backend`; return the results in rank order."""
    future = _session().submit(_gathered, function, args, ranks=size, comm=backend)
    results: list[Any] = future.result(timeout=280)
    return results


def _gathered(comm: rc.Communicator, function: Callable[..., Any], args: tuple[Any, ...]) -> list[Any]:
    return comm.all_gather(function(comm, *args))


@functools.cache
def _session() -> rc.Session:
    """One session for the whole test process: its ranks stay warm between tests."""
    directory = at_end.enter_context(tempfile.TemporaryDirectory(prefix="deeprc-tests-"))
    session = rc.Session(cores=4, run_dir=directory)
    at_end.callback(session.close)
    return session
