"""What Ray says of its nodes and what we ask of it, translated. No side effects, and no Ray."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deeprc.errors import ResourceError
from deeprc.runtime.pilot import Allocation, Node

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class NodeOffer:
    """What one living node of a Ray cluster has in all, or what we take of it."""

    identifier: str
    address: str
    hostname: str
    cores: int
    gpus: int
    memory_bytes: int


def offers(listing: Sequence[Mapping[str, Any]]) -> list[NodeOffer]:
    """`ray.nodes()`, the living ones, the largest first."""
    found = [
        NodeOffer(
            identifier=node["NodeID"],
            address=node["NodeManagerAddress"],
            hostname=node["NodeManagerHostname"],
            cores=int(node["Resources"].get("CPU", 0)),
            gpus=int(node["Resources"].get("GPU", 0)),
            memory_bytes=int(node["Resources"].get("memory", 0)),
        )
        for node in listing
        if node["Alive"]
    ]
    return sorted(found, key=lambda node: (-node.cores, -node.gpus, node.hostname, node.identifier))


def chosen_nodes(found: Sequence[NodeOffer], allocation: Allocation) -> list[NodeOffer]:
    """The share of each node that the session takes: equal ones, as large as the smallest node allows.

    All nodes that give what was asked, unless their number was asked too.

    Raises:
        ResourceError: fewer nodes than asked, or none with so many cores, GPUs or so much memory.
    """
    able = [
        node
        for node in found
        if node.cores >= (allocation.cores or 1)
        and node.gpus >= (allocation.gpus or 0)
        and node.memory_bytes >= (allocation.memory_bytes or 0)
    ]
    wanted = allocation.nodes or max(len(able), 1)
    if len(able) < wanted:
        raise ResourceError(
            f"the Ray cluster has {len(able)} nodes that give {_asked(allocation)}, not {wanted}. "
            f"It has: {'; '.join(map(_described, found)) or 'no living node'}. Ask for less, or use a larger cluster."
        )
    taken = able[:wanted]
    cores = allocation.cores or min(node.cores for node in taken)
    gpus = min(node.gpus for node in taken) if allocation.gpus is None else allocation.gpus
    memory = allocation.memory_bytes or min(node.memory_bytes for node in taken)
    return [replace(node, cores=cores, gpus=gpus, memory_bytes=memory) for node in taken]


def bundle(share: NodeOffer) -> dict[str, float]:
    """The share as Ray's resources. Memory is left to the session: Ray's own workers hold none of it here."""
    resources: dict[str, float] = {"CPU": share.cores}
    return resources | {"GPU": share.gpus} if share.gpus else resources


def driver_host(found: Sequence[NodeOffer], own_address: str) -> str:
    """Loopback where all nodes are this machine, else the address by which the others reach it."""
    return LOOPBACK if {node.address for node in found} <= {LOOPBACK, own_address} else own_address


def named(where: Sequence[str], shares: Sequence[NodeOffer]) -> list[Node]:
    """Nodes named by the hosts where their actors came to lie; nodes that share a host are numbered."""
    total, seen = Counter(where), Counter[str]()
    nodes = []
    for host, share in zip(where, shares, strict=True):
        seen[host] += 1
        name = host if total[host] == 1 else f"{host}-{seen[host]}"
        nodes.append(Node(name, share.cores, share.gpus, share.memory_bytes))
    return nodes


def _asked(allocation: Allocation) -> str:
    parts = [f"{allocation.cores or 1} cores"]
    if allocation.gpus:
        parts.append(f"{allocation.gpus} GPUs")
    if allocation.memory_bytes:
        parts.append(f"{allocation.memory_bytes} bytes of memory")
    return ", ".join(parts)


def _described(node: NodeOffer) -> str:
    gibibytes = math.floor(node.memory_bytes / 2**30)
    return f"{node.hostname} with {node.cores} cores, {node.gpus} GPUs, {gibibytes} GiB"
