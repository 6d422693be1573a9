"""A communicator of one rank: every collective is the identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from deeprc.communicator.protocol import Buffer, ReduceOp, Rendezvous, checked_buffers, checked_op
from deeprc.errors import CommunicatorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")


@dataclass(frozen=True)
class SoloCommunicator:
    """What a task with one rank gets, and what table code runs on outside any run."""

    rank: int = 0
    size: int = 1
    backend: str = "solo"

    @property
    def mpi(self) -> Any:
        raise CommunicatorError("this task has the solo communicator; submit it with comm='mpi' to use .mpi")

    @property
    def process_group(self) -> Any:
        raise CommunicatorError("this task has the solo communicator; submit it with comm='gloo' to use .process_group")

    def barrier(self) -> None:
        return None

    def broadcast(self, obj: T, root: int = 0) -> T:
        return obj

    def all_gather(self, obj: T) -> list[T]:
        return [obj]

    def all_to_all(self, buffers: Sequence[Buffer]) -> list[memoryview]:
        return checked_buffers(buffers, 1)

    def all_reduce(self, array: NDArray[Any], op: ReduceOp = "sum") -> NDArray[Any]:
        checked_op(op)
        return array.copy()

    def close(self) -> None:
        return None


def connect(rendezvous: Rendezvous) -> SoloCommunicator:
    """Build the communicator of a one-rank task.

    Raises:
        CommunicatorError: the task has more ranks than one.
    """
    if rendezvous.size != 1:
        raise CommunicatorError(f"the solo communicator holds one rank, not {rendezvous.size}; use mpi or gloo")
    return SoloCommunicator()
