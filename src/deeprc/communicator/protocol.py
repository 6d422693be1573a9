"""The one interface behind which MPI, GLOO, NCCL and a lone rank look the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")
Buffer = bytes | bytearray | memoryview
ReduceOp = Literal["sum", "min", "max", "mean"]
_HUGE_PAGE_BYTES = 2 << 20
_LEAST_HUGE_BYTES = 4 << 20


@dataclass(frozen=True)
class Rendezvous:
    """Where the ranks of one task meet.

    `task` is unique within the run (attempts included). `layout` says how many ranks each node holds, in rank order;
    `address` is this node's. `share(value)` gives rank 0's value to every rank, before any of them can reach another;
    peers pass None.
    """

    task: str
    backend: str
    rank: int
    layout: tuple[int, ...]
    share: Callable[[str | None], str]
    address: str = "127.0.0.1"
    timeout_s: float = 300.0
    # Told False before a library joins the world that this rank was started in, True once it has.
    joined: Callable[[bool], None] = lambda _: None

    @property
    def size(self) -> int:
        return sum(self.layout)

    @property
    def spans_nodes(self) -> bool:
        return len(self.layout) > 1


class Communicator(Protocol):
    """Collectives among the ranks of one task, and of no other.

    Every method is collective: all ranks of the task call it, in the same order. None is thread-safe.
    """

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def backend(self) -> str:
        """One of "solo", "mpi", "gloo", "nccl"."""
        ...

    @property
    def mpi(self) -> Any:
        """The task's own `mpi4py.MPI.Intracomm`.

        Raises:
            CommunicatorError: the backend is not mpi.
        """
        ...

    @property
    def process_group(self) -> Any:
        """The task's own `torch.distributed` group.

        Raises:
            CommunicatorError: the backend is neither gloo nor nccl.
        """
        ...

    def barrier(self) -> None:
        """Return when every rank has called."""
        ...

    def broadcast(self, obj: T, root: int = 0) -> T:
        """Return `root`'s object on every rank. What other ranks pass is ignored."""
        ...

    def all_gather(self, obj: T) -> list[T]:
        """Return every rank's object, in rank order."""
        ...

    def all_to_all(self, buffers: Sequence[Buffer]) -> list[memoryview]:
        """Send `buffers[i]` to rank i; return what each rank sent here, in rank order.

        Buffers are bytes of any length, empty ones included; `len(buffers) == size`.
        """
        ...

    def all_reduce(self, array: NDArray[Any], op: ReduceOp = "sum") -> NDArray[Any]:
        """Combine an array of one shape and dtype elementwise over all ranks; every rank gets the result."""
        ...

    def close(self) -> None:
        """Free what the communicator holds. The runtime calls it when the task ends."""
        ...


def checked_buffers(buffers: Sequence[Buffer], size: int) -> list[memoryview]:
    """One flat byte view for each rank, or a ValueError that says how many were expected."""
    if len(buffers) != size:
        raise ValueError(f"all_to_all takes one buffer for each rank: {size}, got {len(buffers)}")
    return [memoryview(buffer).cast("B") if memoryview(buffer).nbytes else memoryview(b"") for buffer in buffers]


def checked_op(op: str) -> None:
    """Refuse a reduction that the backends do not share."""
    if op not in ("sum", "min", "max", "mean"):
        raise ValueError(f"unknown reduction {op!r}. Valid: sum, min, max, mean")


def as_contiguous(array: NDArray[Any]) -> NDArray[Any]:
    """A C-contiguous view or copy: what the libraries below send."""
    import numpy as np

    return np.ascontiguousarray(array)


def fresh_buffer(num_bytes: int) -> NDArray[Any]:
    """Bytes to be written for the first time: their pages are touched by that alone, never zeroed by us.

    From 4 MiB on NumPy asks for huge pages. A large buffer therefore begins at one: of 8 MiB that begin anywhere, up to
    2 MiB are faulted in by small ones, which takes longer than receiving all 8.
    """
    import numpy as np

    if num_bytes < _LEAST_HUGE_BYTES:
        return np.empty(num_bytes, dtype=np.uint8)
    memory = np.empty(num_bytes + _HUGE_PAGE_BYTES, dtype=np.uint8)
    start = -memory.ctypes.data % _HUGE_PAGE_BYTES
    return memory[start : start + num_bytes]
