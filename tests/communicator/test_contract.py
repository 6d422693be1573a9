"""The contract that every communicator keeps, on real ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deeprc as rc
from deeprc.communicator import Rendezvous, backends, connect
from deeprc.errors import CommunicatorError
from tests.ranks import run_on_ranks

WORLDS = [("solo", 1), *((backend, size) for backend in ("mpi", "gloo") for size in (1, 2, 3, 4))]
every_world = pytest.mark.parametrize(("backend", "size"), WORLDS, ids=[f"{name}-{size}" for name, size in WORLDS])


def place(comm: rc.Communicator) -> tuple[str, int, int]:
    comm.barrier()
    return comm.backend, comm.rank, comm.size


def objects(comm: rc.Communicator) -> tuple[list[Any], list[Any]]:
    mine = {"rank": comm.rank, "blob": bytes(comm.rank * 1000)}
    return comm.all_gather(mine), [comm.broadcast(("from", comm.rank), root) for root in range(comm.size)]


def exchange(comm: rc.Communicator, factor: int) -> list[tuple[int, bytes, bytes]]:
    """Each rank sends each other a number of bytes that depends on both, some of them none."""
    buffers = [bytes([comm.rank, peer]) * (factor * comm.rank * peer) for peer in range(comm.size)]
    return [(view.nbytes, bytes(view[:2]), bytes(view[-2:])) for view in comm.all_to_all(buffers)]


def kinds_of_buffer(comm: rc.Communicator) -> list[bytes]:
    array = np.arange(6, dtype=np.int32)[::1]
    sent: list[Any] = [memoryview(array.data), bytearray(b"ab"), b"", memoryview(b"xyz")]
    return [bytes(view) for view in comm.all_to_all(sent[: comm.size])]


def reductions(comm: rc.Communicator) -> dict[str, Any]:
    values = np.array([[1.5, comm.rank], [-comm.rank, 2.0]])
    integers = np.array([comm.rank, 7])
    results: dict[str, Any] = {op: comm.all_reduce(values, op) for op in ("sum", "min", "max", "mean")}  # type: ignore[arg-type]
    results["integers"] = comm.all_reduce(integers)
    results["strided"] = comm.all_reduce(values[:, 1])
    results["untouched"] = values
    return results


def misuse(comm: rc.Communicator) -> list[str]:
    messages = []
    for wrong in (lambda: comm.all_to_all([b""] * (comm.size + 1)), lambda: comm.all_reduce(np.ones(1), "median")):  # type: ignore[arg-type]
        try:
            wrong()
        except ValueError as error:
            messages.append(str(error))
    return messages


@every_world
def test_each_rank_knows_its_place(backend: str, size: int) -> None:
    """rank, size and backend are what was asked for."""
    assert run_on_ranks(place, size=size, backend=backend) == [(backend, rank, size) for rank in range(size)]


@every_world
def test_objects_reach_every_rank(backend: str, size: int) -> None:
    """all_gather keeps rank order; broadcast gives the root's object, whoever is root."""
    for gathered, broadcast in run_on_ranks(objects, size=size, backend=backend):
        assert [item["rank"] for item in gathered] == list(range(size))
        assert broadcast == [("from", root) for root in range(size)]


@every_world
@pytest.mark.parametrize("factor", [0, 1, 100_000, 2_200_001])
def test_buffers_of_any_length_arrive(backend: str, size: int, factor: int) -> None:
    """all_to_all delivers every byte to the rank it was meant for, empty buffers included."""
    for rank, received in enumerate(run_on_ranks(exchange, factor, size=size, backend=backend)):
        lengths = [2 * factor * peer * rank for peer in range(size)]
        ends = [bytes([peer, rank]) if length else b"" for peer, length in enumerate(lengths)]
        assert received == list(zip(lengths, ends, ends, strict=True))


@every_world
def test_any_bytes_like_object_can_be_sent(backend: str, size: int) -> None:
    """Arrays' memory, bytearrays and read-only views, without being copied by the caller."""
    expected = [np.arange(6, dtype=np.int32).tobytes(), b"ab", b"", b"xyz"]
    for rank, received in enumerate(run_on_ranks(kinds_of_buffer, size=size, backend=backend)):
        assert received == [expected[rank]] * size


@every_world
def test_reductions_agree_with_numpy(backend: str, size: int) -> None:
    """sum, min, max and mean over ranks, of any shape, stride and dtype; the input is left as it is."""
    stacked = np.array([[[1.5, rank], [-rank, 2.0]] for rank in range(size)])
    for rank, result in enumerate(run_on_ranks(reductions, size=size, backend=backend)):
        for op in ("sum", "min", "max", "mean"):
            np.testing.assert_allclose(result[op], getattr(stacked, op)(axis=0))
        assert result["integers"].tolist() == [sum(range(size)), 7 * size]
        np.testing.assert_allclose(result["strided"], stacked.sum(axis=0)[:, 1])
        np.testing.assert_array_equal(result["untouched"], stacked[rank])


@every_world
def test_misuse_is_refused_on_every_rank(backend: str, size: int) -> None:
    """A wrong number of buffers or an unknown reduction raises before anything is sent."""
    for messages in run_on_ranks(misuse, size=size, backend=backend):
        assert len(messages) == 2
        assert "one buffer for each rank" in messages[0]
        assert "Valid: sum, min, max, mean" in messages[1]


def libraries_own(comm: rc.Communicator) -> Any:
    if comm.backend == "mpi":
        return comm.mpi.allreduce(comm.rank)
    import torch
    import torch.distributed as dist

    tensor = torch.tensor([float(comm.rank)])
    dist.all_reduce(tensor, group=comm.process_group)
    return tensor.item()


@pytest.mark.parametrize("backend", ["mpi", "gloo"])
def test_the_librarys_own_communicator_is_at_hand(backend: str) -> None:
    """comm.mpi is mpi4py's, comm.process_group torch's."""
    assert run_on_ranks(libraries_own, size=3, backend=backend) == [3, 3, 3]


@pytest.mark.parametrize("backend", ["solo", "mpi", "gloo"])
def test_the_other_librarys_communicator_is_refused_with_advice(backend: str) -> None:
    """Asking gloo for .mpi says which comm= has it."""
    wrong = {"solo": ["mpi", "process_group"], "mpi": ["process_group"], "gloo": ["mpi"]}[backend]

    def ask(comm: rc.Communicator) -> list[str]:
        messages = []
        for name in wrong:
            try:
                getattr(comm, name)
            except CommunicatorError as error:
                messages.append(str(error))
        return messages

    [messages] = run_on_ranks(ask, size=1, backend=backend)
    assert len(messages) == len(wrong)
    assert all("comm=" in message for message in messages)


def test_backends_are_found_by_name() -> None:
    """Entry points list them; an unknown one names the valid."""
    assert backends() == ("gloo", "mpi", "nccl", "solo")
    with pytest.raises(CommunicatorError, match="Valid communicators: gloo, mpi, nccl, solo"):
        connect(Rendezvous("t", "smoke", 0, (1,), str))
    with pytest.raises(CommunicatorError, match="holds one rank, not 2"):
        connect(Rendezvous("t", "solo", 0, (2,), str))
