"""Communicators: collectives among the ranks of one task, over MPI, GLOO, NCCL, or alone.

A backend is one file with a `connect(rendezvous)` function and a line in the `deeprc.communicators`
entry points.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

from deeprc.communicator.protocol import Buffer, Communicator, ReduceOp, Rendezvous
from deeprc.communicator.solo import SoloCommunicator
from deeprc.errors import CommunicatorError, valid_values

__all__ = [
    "Buffer",
    "Communicator",
    "ReduceOp",
    "Rendezvous",
    "SoloCommunicator",
    "backends",
    "connect",
    "load_backends",
]


@functools.cache
def backends() -> tuple[str, ...]:
    """Names of all installed backends."""
    return tuple(sorted(point.name for point in entry_points(group="deeprc.communicators")))


def connect(rendezvous: Rendezvous) -> Communicator:
    """Build this rank's communicator; collective over the task's ranks.

    Raises:
        CommunicatorError: no such backend, or it could not be joined.
        MissingDependencyError: the library behind it is not installed.
    """
    return _backend(rendezvous.backend)(rendezvous)


def load_backends() -> None:
    """Import what connects to each backend, but not the libraries behind them: for processes that fork ranks."""
    for name in backends():
        _backend(name)


@functools.cache
def _backend(name: str) -> Callable[[Rendezvous], Communicator]:
    # Cached: looking through the metadata of all installed packages takes milliseconds, a task less than one.
    for point in entry_points(group="deeprc.communicators", name=name):
        return cast("Callable[[Rendezvous], Communicator]", point.load())
    raise CommunicatorError(f"unknown communicator {name!r}. {valid_values(name, backends(), noun='communicator')}")
