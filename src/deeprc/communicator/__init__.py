"""Communicators: collectives among the ranks of one task, over MPI, GLOO, NCCL, or alone.

A backend is one file with a `connect(rendezvous)` function and a line in the `deeprc.communicators`
entry points.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import cast

from deeprc.communicator.protocol import Buffer, Communicator, ReduceOp, Rendezvous
from deeprc.communicator.solo import SoloCommunicator
from deeprc.errors import CommunicatorError, valid_values

__all__ = ["Buffer", "Communicator", "ReduceOp", "Rendezvous", "SoloCommunicator", "backends", "connect"]


def backends() -> list[str]:
    """Names of all installed backends."""
    return sorted(point.name for point in entry_points(group="deeprc.communicators"))


def connect(rendezvous: Rendezvous) -> Communicator:
    """Build this rank's communicator; collective over the task's ranks.

    Raises:
        CommunicatorError: no such backend, or it could not be joined.
        MissingDependencyError: the library behind it is not installed.
    """
    for point in entry_points(group="deeprc.communicators", name=rendezvous.backend):
        return cast(Communicator, point.load()(rendezvous))
    raise CommunicatorError(
        f"unknown communicator {rendezvous.backend!r}. "
        f"{valid_values(rendezvous.backend, backends(), noun='communicator')}"
    )
