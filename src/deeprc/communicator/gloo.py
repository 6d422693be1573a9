"""GLOO and NCCL: a torch.distributed group whose store is private to the task.

The store is a TCP store of rank 0, on a free port: of loopback where the task has one node, else of its node's address.
Its port travels to the peers by way of the agents, with a secret by which ranks know what is theirs. (A file store, the
other choice, is looked at every 10 ms and relies on locks, which shared file systems do not always have.) The group is
the process's default one while the task runs: DDP, Lightning and DistributedSampler find it without being told.
"""

from __future__ import annotations

import os
import pickle
import secrets
import socket
import threading
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from deeprc.communicator.protocol import (
    Buffer,
    ReduceOp,
    Rendezvous,
    as_contiguous,
    checked_buffers,
    checked_op,
    fresh_buffer,
)
from deeprc.errors import CommunicatorError, MissingDependencyError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

T = TypeVar("T")


class TorchCommunicator:
    """Collectives over the torch.distributed group of one task."""

    def __init__(self, group: Any, backend: str) -> None:
        import torch
        import torch.distributed as dist

        self._group = group
        self.backend = backend
        self.rank: int = dist.get_rank(group)
        self.size: int = dist.get_world_size(group)
        self._device = torch.device("cuda", torch.cuda.current_device()) if backend == "nccl" else torch.device("cpu")

    @property
    def mpi(self) -> Any:
        raise CommunicatorError(f"this task's communicator is {self.backend}; submit it with comm='mpi' to use .mpi")

    @property
    def process_group(self) -> Any:
        if self._group is None:
            raise CommunicatorError("this communicator belonged to a task that has ended")
        return self._group

    def barrier(self) -> None:
        import torch.distributed as dist

        dist.barrier(self.process_group)

    def broadcast(self, obj: T, root: int = 0) -> T:
        import torch.distributed as dist

        holder = [obj if self.rank == root else None]
        dist.broadcast_object_list(holder, src=root, group=self.process_group, device=self._device)
        return cast(T, holder[0])

    def all_gather(self, obj: T) -> list[T]:
        payload = pickle.dumps(obj, protocol=pickle.HIGHEST_PROTOCOL)
        return [pickle.loads(view) for view in self.all_to_all([payload] * self.size)]

    def all_to_all(self, buffers: Sequence[Buffer]) -> list[memoryview]:
        import torch
        import torch.distributed as dist

        outgoing = checked_buffers(buffers, self.size)
        send_sizes = torch.tensor([view.nbytes for view in outgoing], dtype=torch.int64, device=self._device)
        receive_sizes = torch.empty_like(send_sizes)
        dist.all_to_all_single(receive_sizes, send_sizes, group=self.process_group)
        sizes = receive_sizes.tolist()
        # Not from torch, whose memory would be faulted in by small pages.
        received = [torch.from_numpy(fresh_buffer(size)).to(self._device) for size in sizes]
        sent = [self._tensor(view) for view in outgoing]
        operations = [
            dist.P2POp(operation, tensors[peer], peer, self.process_group)
            for peer in range(self.size)
            for operation, tensors in ((dist.isend, sent), (dist.irecv, received))
            if peer != self.rank and len(tensors[peer])
        ]
        if operations:
            for work in dist.batch_isend_irecv(operations):
                work.wait()
        incoming = [memoryview(tensor.cpu().numpy().data) for tensor in received]
        incoming[self.rank] = outgoing[self.rank]
        return incoming

    def _tensor(self, view: memoryview) -> torch.Tensor:
        import torch

        with warnings.catch_warnings():
            # torch warns of tensors over read-only memory; these are only ever sent.
            warnings.simplefilter("ignore", UserWarning)
            return torch.from_numpy(np.frombuffer(view, dtype=np.uint8)).to(self._device)

    def all_reduce(self, array: NDArray[Any], op: ReduceOp = "sum") -> NDArray[Any]:
        import torch
        import torch.distributed as dist

        checked_op(op)
        tensor = torch.from_numpy(as_contiguous(array).copy()).to(self._device)
        reduction = {"min": dist.ReduceOp.MIN, "max": dist.ReduceOp.MAX}.get(op, dist.ReduceOp.SUM)
        dist.all_reduce(tensor, op=reduction, group=self.process_group)
        result: NDArray[Any] = tensor.cpu().numpy()
        return result / self.size if op == "mean" else result

    def prove_peers(self, secret: bytes) -> None:
        """Have every rank show every other that it knows the task's secret, before anything of it is unpickled.

        GLOO takes whoever connects first for the peer that it expects. This also is the barrier without which a rank
        whose task is short would hang up on peers that have not finished connecting.

        Raises:
            CommunicatorError: somebody else answers in the place of a rank.
        """
        import torch
        import torch.distributed as dist

        from deeprc.communicator.sealed_store import mac

        ranks = range(self.size)
        sent = torch.tensor([list(mac(secret, f"{self.rank} to {peer}")) for peer in ranks], dtype=torch.uint8)
        expected = torch.tensor([list(mac(secret, f"{peer} to {self.rank}")) for peer in ranks], dtype=torch.uint8)
        shown = torch.empty_like(sent, device=self._device)
        dist.all_to_all_single(shown, sent.to(self._device), group=self.process_group)
        wrong = (shown.cpu() != expected).any(dim=1).nonzero().flatten().tolist()
        if wrong:
            who = f"who answers as rank {wrong[0]} is not of this task"
            raise CommunicatorError(f"{who}: a stranger to it has connected in that rank's place")

    def close(self) -> None:
        import torch.distributed as dist

        if self._group is None:
            return
        group, self._group = [self._group], None
        dist.destroy_process_group()
        # GLOO takes 20 ms to take its connections down: meanwhile the rank serves its next task.
        threading.Thread(target=group.clear, daemon=True).start()


def connect(rendezvous: Rendezvous) -> TorchCommunicator:
    """Join the task's group; returns when all its ranks have.

    Raises:
        MissingDependencyError: torch is not installed.
        CommunicatorError: nccl without a GPU, or a peer that did not join within `timeout_s`.
    """
    try:
        import torch
        import torch.distributed as dist
        from torch._C._distributed_c10d import PrefixStore
    except ImportError as error:
        raise MissingDependencyError(f"comm={rendezvous.backend!r} needs torch: pip install 'deeprc[torch]'") from error
    if rendezvous.backend == "nccl":
        if not torch.cuda.is_available():
            raise CommunicatorError("comm='nccl' needs a GPU and this rank sees none; use comm='gloo'")
        torch.cuda.set_device(rendezvous.rank % torch.cuda.device_count())
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    try:
        store, secret = _store(rendezvous)
        dist.init_process_group(
            rendezvous.backend,
            store=PrefixStore(rendezvous.task, store),
            rank=rendezvous.rank,
            world_size=rendezvous.size,
            timeout=timedelta(seconds=rendezvous.timeout_s),
        )
        joined = TorchCommunicator(dist.group.WORLD, rendezvous.backend)
        joined.prove_peers(secret)
    except RuntimeError as error:
        raise CommunicatorError(f"task {rendezvous.task!r}: rank {rendezvous.rank} could not join: {error}") from error
    return joined


# A TCP store ends with its last reference, and peers may still read from it after this rank has joined; of one in
# Python, torch itself keeps only the half that is not.
_held: list[Any] = []


def _store(rendezvous: Rendezvous) -> tuple[Any, bytes]:
    """The task's store, and the secret that its ranks share."""
    from torch._C._distributed_c10d import TCPStore

    from deeprc.communicator.sealed_store import SealedStore

    address = rendezvous.address if rendezvous.spans_nodes else "127.0.0.1"
    timeout = timedelta(seconds=rendezvous.timeout_s)
    if rendezvous.rank == 0:
        _held.clear()
        secret = secrets.token_bytes(32)
        inner, port = _served(address, rendezvous.size, timeout)
        rendezvous.share(f"{address} {port} {secret.hex()}")
    else:
        host, port_text, secret_text = rendezvous.share(None).split()
        secret = bytes.fromhex(secret_text)
        inner = TCPStore(host, int(port_text), is_master=False, timeout=timeout, wait_for_workers=False)
    _held[:] = [SealedStore(inner, secret)]
    return _held[0], secret


def _served(address: str, ranks: int, timeout: timedelta) -> tuple[Any, int]:
    """A TCP store that this rank serves on an address, and its port."""
    from torch._C._distributed_c10d import TCPStore

    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        # Bound here, since a TCP store of its own accord listens on every interface.
        listener.bind((address, 0))
        listener.listen(ranks)
        port = listener.getsockname()[1]
        store = TCPStore(
            address,
            port,
            is_master=True,
            timeout=timeout,
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
        )
    return store, port
