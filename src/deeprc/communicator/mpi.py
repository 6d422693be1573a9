"""MPI: a duplicate of the world that the task's ranks were started in.

The runtime starts the ranks of an MPI gang together, so MPI_COMM_WORLD holds exactly the task's ranks; the
duplicate gives each task of a warm gang a context of its own, so that no message of one task can match a
receive of another (MPI standard 4.1, section 7.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from deeprc.communicator.entered import entered
from deeprc.communicator.protocol import (
    Buffer,
    ReduceOp,
    Rendezvous,
    as_contiguous,
    checked_buffers,
    checked_op,
    fresh_buffer,
)
from deeprc.errors import CommunicatorError, MissingDependencyError, MpiWorldError

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")


class MpiCommunicator:
    """Collectives over an `mpi4py` communicator that belongs to one task."""

    backend = "mpi"

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._entered = entered()
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()

    @property
    def mpi(self) -> Any:
        return self._open

    @property
    def process_group(self) -> Any:
        raise CommunicatorError("this task's communicator is MPI; submit it with comm='gloo' to use .process_group")

    @property
    def _open(self) -> Any:
        if self._comm is None:
            raise CommunicatorError("this communicator belonged to a task that has ended")
        return self._comm

    def barrier(self) -> None:
        self._entered[0] += 1
        self._open.Barrier()

    def broadcast(self, obj: T, root: int = 0) -> T:
        self._entered[0] += 1
        received: T = self._open.bcast(obj, root=root)
        return received

    def all_gather(self, obj: T) -> list[T]:
        self._entered[0] += 1
        gathered: list[T] = self._open.allgather(obj)
        return gathered

    def all_to_all(self, buffers: Sequence[Buffer]) -> list[memoryview]:
        from mpi4py import MPI

        self._entered[0] += 1
        outgoing = checked_buffers(buffers, self.size)
        send_sizes = np.array([view.nbytes for view in outgoing], dtype=np.int64)
        receive_sizes = np.empty_like(send_sizes)
        self._open.Alltoall(send_sizes, receive_sizes)
        incoming = [fresh_buffer(size) for size in receive_sizes.tolist()]
        requests = [self._open.Irecv([incoming[peer], MPI.BYTE], source=peer) for peer in self._peers()]
        requests += [self._open.Isend([outgoing[peer], MPI.BYTE], dest=peer) for peer in self._peers()]
        MPI.Request.Waitall(requests)
        received = [memoryview(array.data) for array in incoming]
        received[self.rank] = outgoing[self.rank]
        return received

    def _peers(self) -> list[int]:
        """The other ranks, each starting after itself, so that not all send to rank 0 first."""
        return [(self.rank + step) % self.size for step in range(1, self.size)]

    def all_reduce(self, array: NDArray[Any], op: ReduceOp = "sum") -> NDArray[Any]:
        from mpi4py import MPI

        checked_op(op)
        self._entered[0] += 1
        contiguous = as_contiguous(array)
        result = np.empty_like(contiguous)
        self._open.Allreduce(contiguous, result, op={"min": MPI.MIN, "max": MPI.MAX}.get(op, MPI.SUM))
        return result / self.size if op == "mean" else result

    def close(self) -> None:
        """Free the duplicate, unless a message that nobody received could then reach a later task.

        MPI reuses the context of a freed communicator, and a stray message would match in it; so such a
        communicator is kept for as long as its ranks live. What is asked for that travels in a context of its own: in
        the task's it would match a collective that a peer alone has entered, and hide the mistake.
        """
        if self._comm is None:
            return
        comm, self._comm = self._comm, None
        ending = _ending[0]
        ending.Barrier()
        if not ending.allreduce(comm.Iprobe()):
            comm.Free()


# The context in which the ranks of this process's world agree on the end of a task.
_ending: list[Any] = []


def connect(rendezvous: Rendezvous) -> MpiCommunicator:
    """Duplicate the world of this gang for one task.

    Raises:
        MissingDependencyError: mpi4py is not installed, or finds no MPI library.
        MpiWorldError: the ranks were not started as one MPI world of the task's size.
    """
    # Not for each task of a warm rank.
    joined = (lambda _: None) if _ending else rendezvous.joined
    joined(False)
    try:
        # This is MPI_Init. No rank gets past the duplicates below before all have come out of it.
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        # mpi4py tells of a library that it cannot load in a RuntimeError of many lines.
        found = str(error).partition("\n")[0]
        raise MissingDependencyError(
            f"comm='mpi' needs mpi4py and an MPI library ({found}): pip install 'deeprc[mpi]', or see `deeprc doctor`"
        ) from None
    joined(True)
    world = MPI.COMM_WORLD
    if world.Get_size() != rendezvous.size or world.Get_rank() != rendezvous.rank:
        raise MpiWorldError(
            f"task {rendezvous.task!r}: rank {rendezvous.rank} of {rendezvous.size} finds itself as rank "
            f"{world.Get_rank()} of an MPI world of {world.Get_size()}; `deeprc doctor` checks the MPI library"
        )
    if not _ending:
        _ending.append(world.Dup())
    comm = world.Dup()
    _forget_segments()
    return MpiCommunicator(comm)


def _forget_segments() -> None:
    """Unlink the shared memory of this world, to which all its ranks are attached by now.

    MPICH unlinks it when all ranks finalize; ranks that are killed do not, and it would stay in memory.
    """
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = entry.readlink()
        except OSError:
            continue
        if target.parent == Path("/dev/shm") and target.name.startswith("mpich_shm_"):
            target.unlink(missing_ok=True)
