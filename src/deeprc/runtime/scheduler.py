"""Gang scheduling: a task gets all its ranks or none. Pure: told of tasks and releases, answers placements."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

from deeprc.errors import ResourceError

_LOOKAHEAD = 64


@dataclass(frozen=True)
class Node:
    """What one node of the allocation offers."""

    name: str
    cores: int
    gpus: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True)
class Demand:
    """What one task needs, all of it at once. Threads, GPUs and memory are for each rank."""

    ranks: int
    threads: int = 1
    gpus: int = 0
    memory_bytes: int = 0

    @property
    def cores(self) -> int:
        return self.ranks * self.threads


@dataclass(frozen=True)
class Placement:
    """Where a task's ranks go: for each rank the first of its cores, and its GPUs."""

    task: str
    node: str
    slots: tuple[int, ...]
    gpus: tuple[tuple[int, ...], ...]


@dataclass
class _Free:
    cores: list[int]
    gpus: list[int]
    memory_bytes: int


class Scheduler:
    """Places ready tasks, the longest path first; smaller tasks fill what is left.

    A task passed over `patience` times holds its node: nothing more is placed there until it fits. So small
    tasks keep cores busy, and a large one cannot be put off for ever.
    """

    def __init__(self, nodes: list[Node], *, patience: int = 16) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._free = {
            node.name: _Free(list(range(node.cores)), list(range(node.gpus)), node.memory_bytes) for node in nodes
        }
        self._patience = patience
        self._ready: dict[str, Demand] = {}
        self._queue: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._passed_over: dict[str, int] = {}
        self._placed: dict[str, tuple[Demand, str, list[int], list[int]]] = {}

    def check(self, demand: Demand) -> None:
        """Refuse what no node of the allocation can ever give.

        Raises:
            ResourceError: names the resource, what was asked and the most there is.
        """
        most = max(self._nodes.values(), key=lambda node: node.cores)
        if demand.cores > most.cores:
            raise ResourceError(
                f"{demand.ranks} ranks x {demand.threads} threads need {demand.cores} cores, and the largest node of "
                f"this session has {most.cores}. Use at most {most.cores // demand.threads} ranks, or "
                f"Session(cores={demand.cores}) to run more ranks than cores."
            )
        gpus = max(node.gpus for node in self._nodes.values())
        if demand.gpus and not gpus:
            raise ResourceError("this session has no GPU. Use gpus=0.")
        if demand.ranks * demand.gpus > gpus:
            raise ResourceError(
                f"{demand.ranks} ranks x {demand.gpus} GPUs need {demand.ranks * demand.gpus}, and a node of this "
                f"session has {gpus}. Use at most {gpus} ranks with one GPU each, or gpus=0."
            )
        memory = max(node.memory_bytes for node in self._nodes.values())
        if demand.ranks * demand.memory_bytes > memory > 0:
            raise ResourceError(
                f"{demand.ranks} ranks x {demand.memory_bytes} bytes of memory are more than the {memory} bytes of a "
                f"node. Use at most {memory // demand.ranks} bytes a rank."
            )

    def add(self, task: str, demand: Demand, priority: float = 0.0) -> None:
        """Add a task that is ready. Of equal priorities the first to come is the first to go."""
        self._ready[task] = demand
        self._passed_over[task] = 0
        heapq.heappush(self._queue, (-priority, next(self._order), task))

    def drop(self, task: str) -> None:
        """Forget a task that is ready but not placed."""
        self._ready.pop(task, None)
        self._passed_over.pop(task, None)

    def release(self, task: str) -> None:
        """Give back what a placed task held."""
        if task not in self._placed:
            return
        demand, node, cores, gpus = self._placed.pop(task)
        free = self._free[node]
        free.cores = sorted(free.cores + cores)
        free.gpus = sorted(free.gpus + gpus)
        free.memory_bytes += demand.ranks * demand.memory_bytes

    def place(self) -> list[Placement]:
        """Place what fits now, highest priority first.

        Behind a task that does not fit, so many are looked at as `_LOOKAHEAD` says: with thousands ready the
        answer has to come in microseconds.
        """
        placements: list[Placement] = []
        waiting: list[tuple[float, int, str]] = []
        held: set[str] = set()
        while self._queue and self._has_cores() and len(held) < len(self._nodes) and len(waiting) < _LOOKAHEAD:
            entry = heapq.heappop(self._queue)
            task = entry[2]
            demand = self._ready.get(task)
            if demand is None:
                continue
            node = next((name for name in self._free if name not in held and self._fits(demand, name)), None)
            if node is not None:
                placements.append(self._take(task, demand, node))
                continue
            waiting.append(entry)
            if self._passed_over[task] >= self._patience:
                held.add(self._node_for(demand))
        for entry in waiting:
            heapq.heappush(self._queue, entry)
            self._passed_over[entry[2]] += len(placements)
        return placements

    def _has_cores(self) -> bool:
        return any(free.cores for free in self._free.values())

    def _fits(self, demand: Demand, node: str) -> bool:
        free = self._free[node]
        return (
            len(free.cores) >= demand.cores
            and len(free.gpus) >= demand.ranks * demand.gpus
            and (self._nodes[node].memory_bytes == 0 or free.memory_bytes >= demand.ranks * demand.memory_bytes)
        )

    def _node_for(self, demand: Demand) -> str:
        """The node that will fit a waiting task soonest: the one with the most free cores that could ever."""
        able = [node for node in self._nodes.values() if node.cores >= demand.cores]
        return max(able, key=lambda node: len(self._free[node.name].cores)).name

    def _take(self, task: str, demand: Demand, node: str) -> Placement:
        free = self._free[node]
        cores, free.cores = free.cores[: demand.cores], free.cores[demand.cores :]
        count = demand.ranks * demand.gpus
        gpus, free.gpus = free.gpus[:count], free.gpus[count:]
        free.memory_bytes -= demand.ranks * demand.memory_bytes
        self.drop(task)
        self._placed[task] = (demand, node, cores, gpus)
        return Placement(
            task,
            node,
            slots=tuple(cores[:: demand.threads]),
            gpus=tuple(tuple(gpus[rank * demand.gpus : (rank + 1) * demand.gpus]) for rank in range(demand.ranks)),
        )
