"""An exchange in two steps: among the ranks of a node, then between nodes among ranks of the same place.

A flat all-to-all of P ranks sends P - 1 messages from each. Where each of N nodes holds L = P / N ranks, rank i of a
node first collects what its whole node has for the i-th ranks of all nodes, then sends each of those one message:
L - 1 messages within the node and N - 1 between nodes, for twice the bytes. The result is the same to the byte.
Source: the idea is that of hierarchical all-to-all; see Bruck and others, IEEE Trans. Parallel Distrib. Syst. 8 (1997).
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np

from deeprc.communicator import Buffer, Communicator
from deeprc.table.exchange.cost import DEFAULT, two_levels_pay

FEWEST_RANKS = 32  # Below, two levels never pay, and the ranks need not agree on sizes first.
_nodes: WeakKeyDictionary[Communicator, tuple[str, ...]] = WeakKeyDictionary()


def all_to_all(comm: Communicator, buffers: Sequence[Buffer]) -> list[memoryview]:
    """As `comm.all_to_all`, in one level or two, whichever the cost model says is faster. Collective."""
    if comm.size < FEWEST_RANKS:
        return comm.all_to_all(buffers)
    nodes = nodes_of(comm)
    per_node = comm.size // len(set(nodes))
    largest = int(comm.all_reduce(np.array([sum(memoryview(each).nbytes for each in buffers)]), "max")[0])
    if is_even(nodes) and two_levels_pay(DEFAULT, comm.size, per_node, largest):
        return in_two_levels(comm, buffers, nodes)
    return comm.all_to_all(buffers)


def nodes_of(comm: Communicator) -> tuple[str, ...]:
    """The node of each rank. Collective the first time; then remembered for this communicator."""
    if comm not in _nodes:
        _nodes[comm] = tuple(comm.all_gather(platform.node()))
    return _nodes[comm]


def is_even(nodes: Sequence[str]) -> bool:
    """Whether every node holds as many ranks."""
    counts = {nodes.count(node) for node in set(nodes)}
    return len(counts) == 1


def in_two_levels(comm: Communicator, buffers: Sequence[Buffer], nodes: Sequence[str]) -> list[memoryview]:
    """Send `buffers[i]` to rank i; return what each rank sent here, in rank order. Collective.

    Args:
        nodes: the node of each rank, the same on all ranks; each holds as many.
    """
    members = [[rank for rank, node in enumerate(nodes) if node == name] for name in dict.fromkeys(nodes)]
    mine = next(ranks for ranks in members if comm.rank in ranks)
    place = mine.index(comm.rank)
    # Within the node: to each neighbour all that this rank has for the ranks of its place.
    sent: list[Buffer] = [b""] * comm.size
    for index, neighbour in enumerate(mine):
        sent[neighbour] = _bundle([buffers[ranks[index]] for ranks in members])
    collected = comm.all_to_all(sent)
    by_source = [_unbundle(collected[neighbour], len(members)) for neighbour in mine]
    # Between nodes: to the rank of this place on each node all that this node has for it.
    sent = [b""] * comm.size
    for number, ranks in enumerate(members):
        sent[ranks[place]] = _bundle([parts[number] for parts in by_source])
    arrived = comm.all_to_all(sent)
    received = [memoryview(b"")] * comm.size
    for ranks in members:
        for source, part in zip(ranks, _unbundle(arrived[ranks[place]], len(ranks)), strict=True):
            received[source] = part
    return received


def _bundle(parts: Sequence[Buffer]) -> bytes:
    """Lengths, each of eight bytes, then the parts, each from a multiple of 64 bytes on, as Arrow likes it."""
    views = [memoryview(part) for part in parts]
    pieces: list[Buffer] = [np.array([view.nbytes for view in views], dtype=np.int64).tobytes()]
    pieces[0] = memoryview(pieces[0]).tobytes() + b"\0" * _gap(8 * len(views))
    for view in views:
        pieces += [view.cast("B") if view.nbytes else b"", b"\0" * _gap(view.nbytes)]
    return b"".join(pieces)


def _unbundle(bundle: memoryview, count: int) -> list[memoryview]:
    lengths = np.frombuffer(bundle[: 8 * count], dtype=np.int64).tolist()
    start = 8 * count + _gap(8 * count)
    parts = []
    for length in lengths:
        parts.append(bundle[start : start + length])
        start += length + _gap(length)
    return parts


def _gap(length: int) -> int:
    return -length % 64
