"""Gang scheduling: a task gets all its ranks or none. Pure: told of tasks and time, answers placements."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from deeprc.errors import ResourceError
from deeprc.runtime.pilot import Node

_LOOKAHEAD = 64
# A task that waits gains a second of path in so many seconds: what comes later cannot overtake it for ever.
_SECONDS_A_SECOND = 60.0
Entry = tuple[int, float, int, str]


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


SIMPLE = Demand(1)


@dataclass(frozen=True)
class Seat:
    """Where one rank goes."""

    node: str
    cores: tuple[int, ...]
    gpus: tuple[int, ...]


@dataclass(frozen=True)
class Placement:
    """Where a task's ranks go: one seat for each. Ranks of a node follow each other."""

    task: str
    seats: tuple[Seat, ...]

    def by_node(self) -> dict[str, tuple[Seat, ...]]:
        """The seats of each node, in rank order; the first node holds rank 0."""
        return {node: tuple(seats) for node, seats in itertools.groupby(self.seats, key=lambda seat: seat.node)}


@dataclass
class _Free:
    cores: list[int]
    gpus: list[int]
    memory_bytes: int

    @classmethod
    def all_of(cls, node: Node) -> _Free:
        return cls(list(range(node.cores)), list(range(node.gpus)), node.memory_bytes)


class Scheduler:
    """Places ready tasks by priority, of one priority the longest path first; smaller tasks fill what is left.

    A gang goes on one node where it fits now, else on as few as hold it. A task passed over `patience` times holds
    nodes enough for it: nothing more is placed there until it fits. So small tasks keep cores busy, and a large one
    cannot be put off for ever. Nodes are placed upon once they are open; `all_open` opens them at once.
    """

    def __init__(self, nodes: list[Node], *, patience: int = 16, all_open: bool = True) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._free: dict[str, _Free] = {}
        self._patience = patience
        self._ready: dict[str, Demand] = {}
        self._queue: list[Entry] = []
        self._order = itertools.count()
        self._passed_over: dict[str, int] = {}
        self._placed: dict[str, tuple[Demand, tuple[Seat, ...]]] = {}
        for node in nodes if all_open else ():
            self.open(node.name)

    def open(self, node: str) -> None:
        """Place tasks on a node from now on."""
        if node in self._nodes and node not in self._free:
            opened = {**self._free, node: _Free.all_of(self._nodes[node])}
            # In the order of the allocation, whichever agent came first: runs are then alike.
            self._free = {name: opened[name] for name in self._nodes if name in opened}

    def remove(self, node: str) -> None:
        """Forget a node that is lost. Tasks placed there have to be released as ever."""
        self._nodes.pop(node, None)
        self._free.pop(node, None)

    def check(self, demand: Demand) -> None:
        """Refuse what all nodes of the allocation together can never give.

        Raises:
            ResourceError: names the resource, what was asked and the most there is.
        """
        nodes = list(self._nodes.values())
        if not nodes or sum(_ranks_that_fit(node, demand) for node in nodes) >= demand.ranks:
            return
        raise ResourceError(_refusal(nodes, demand))

    def add(self, task: str, demand: Demand, path_s: float = 0.0, *, priority: int = 0, arrived_s: float = 0.0) -> None:
        """Add a task that is ready.

        A higher `priority` always goes first. Then the longest path to the graph's end, `path_s`, on which each
        minute of waiting counts as a second; of equals, the first to come.
        """
        self._ready[task] = demand
        self._passed_over[task] = 0
        urgency = arrived_s / _SECONDS_A_SECOND - path_s
        heapq.heappush(self._queue, (-priority, urgency, next(self._order), task))

    def drop(self, task: str) -> None:
        """Forget a task that is ready but not placed."""
        self._ready.pop(task, None)
        self._passed_over.pop(task, None)

    def release(self, task: str) -> None:
        """Give back what a placed task held."""
        if task not in self._placed:
            return
        demand, seats = self._placed.pop(task)
        for seat in seats:
            free = self._free.get(seat.node)
            if free is not None:
                free.cores += seat.cores
                free.gpus += seat.gpus
                free.memory_bytes += demand.memory_bytes
        for node in {seat.node for seat in seats} & self._free.keys():
            self._free[node].cores.sort()
            self._free[node].gpus.sort()

    def take_ahead(self, most: int, suits: Callable[[str], bool]) -> list[str]:
        """Up to `most` of the tasks that are next in turn, of one core and nothing else, to be passed a core later.

        The first that does not suit ends it: nothing that waits is overtaken. For after `place`.
        """
        taken: list[str] = []
        while self._queue and len(taken) < most:
            task = self._queue[0][3]
            demand = self._ready.get(task)
            if demand is not None:
                if demand != SIMPLE or not suits(task):
                    break
                self.drop(task)
                taken.append(task)
            heapq.heappop(self._queue)
        return taken

    def first(self) -> str | None:
        """The task that is next in turn."""
        while self._queue and self._queue[0][3] not in self._ready:
            heapq.heappop(self._queue)
        return self._queue[0][3] if self._queue else None

    def occupy(self, task: str, demand: Demand, node: str) -> None:
        """Note a simple task that runs on a core of a node which may be another's too until one of them ends."""
        free = self._free.get(node)
        cores = (free.cores.pop(0),) if free is not None and free.cores else ()
        self._placed[task] = demand, (Seat(node, cores, ()),)

    def pass_on(self, task: str, following: str) -> Seat:
        """Give a simple task's core to one that was taken ahead."""
        demand, seats = self._placed.pop(task)
        self._placed[following] = demand, seats
        return seats[0]

    @property
    def has_free_cores(self) -> bool:
        return any(free.cores for free in self._free.values())

    def place(self) -> list[Placement]:
        """Place what fits now, the most urgent first.

        Behind a task that does not fit, so many are looked at as `_LOOKAHEAD` says: with thousands ready the
        answer has to come in microseconds.
        """
        placements: list[Placement] = []
        waiting: list[Entry] = []
        held: set[str] = set()
        while self._queue and self.has_free_cores and len(held) < len(self._nodes) and len(waiting) < _LOOKAHEAD:
            entry = heapq.heappop(self._queue)
            task = entry[3]
            demand = self._ready.get(task)
            if demand is None:
                continue
            shares = self._shares(demand, held)
            if shares:
                placements.append(self._take(task, demand, shares))
                continue
            waiting.append(entry)
            if self._passed_over[task] >= self._patience:
                held.update(self._nodes_for(demand))
        for entry in waiting:
            heapq.heappush(self._queue, entry)
            self._passed_over[entry[3]] += len(placements)
        return placements

    def _room(self, node: str, demand: Demand) -> int:
        """How many ranks of a task a node has room for now."""
        free = self._free.get(node)
        if free is None:
            return 0
        room = len(free.cores) // demand.threads
        if demand.gpus:
            room = min(room, len(free.gpus) // demand.gpus)
        if demand.memory_bytes and self._nodes[node].memory_bytes:
            room = min(room, free.memory_bytes // demand.memory_bytes)
        return room

    def _shares(self, demand: Demand, held: set[str]) -> list[tuple[str, int]]:
        """Which node takes how many ranks: one node that has room for all, else the fewest; empty if not now."""
        rooms: list[tuple[int, str]] = []
        for node in self._free:
            if node not in held:
                room = self._room(node, demand)
                if room >= demand.ranks:
                    return [(node, demand.ranks)]
                rooms.append((room, node))
        if sum(room for room, _ in rooms) < demand.ranks:
            return []
        shares, left = [], demand.ranks
        for room, node in sorted(rooms, key=lambda entry: -entry[0]):
            shares.append((node, min(room, left)))
            left -= shares[-1][1]
            if not left:
                break
        return shares

    def _nodes_for(self, demand: Demand) -> list[str]:
        """The nodes that will fit a waiting task soonest: those with the most room now that ever could."""
        by_room = sorted(self._nodes, key=lambda node: -self._room(node, demand))
        for node in by_room:
            if _ranks_that_fit(self._nodes[node], demand) >= demand.ranks:
                return [node]
        nodes, left = [], demand.ranks
        for node in by_room:
            if left > 0:
                nodes.append(node)
                left -= _ranks_that_fit(self._nodes[node], demand)
        return nodes

    def _take(self, task: str, demand: Demand, shares: list[tuple[str, int]]) -> Placement:
        seats: list[Seat] = []
        for node, ranks in shares:
            free = self._free[node]
            free.memory_bytes -= ranks * demand.memory_bytes
            for _ in range(ranks):
                cores, free.cores = free.cores[: demand.threads], free.cores[demand.threads :]
                gpus, free.gpus = free.gpus[: demand.gpus], free.gpus[demand.gpus :]
                seats.append(Seat(node, tuple(cores), tuple(gpus)))
        self.drop(task)
        placement = Placement(task, tuple(seats))
        self._placed[task] = demand, placement.seats
        return placement


def _ranks_that_fit(node: Node, demand: Demand) -> int:
    """How many ranks of a task an empty node holds."""
    room = node.cores // demand.threads
    if demand.gpus:
        room = min(room, node.gpus // demand.gpus)
    if demand.memory_bytes and node.memory_bytes:
        room = min(room, node.memory_bytes // demand.memory_bytes)
    return room


def _refusal(nodes: list[Node], demand: Demand) -> str:
    """Which resource falls short, and what to do."""
    cores = sum(node.cores for node in nodes)
    have = f"the {len(nodes)} nodes of this session have" if len(nodes) > 1 else "the largest node of this session has"
    most = sum(node.cores // demand.threads for node in nodes)
    if most < demand.ranks:
        enough = -(-demand.ranks // len(nodes)) * demand.threads
        return (
            f"{demand.ranks} ranks x {demand.threads} threads need {demand.cores} cores, and {have} {cores}. "
            f"Use at most {most} ranks, or Session(cores={enough}) to run more ranks than cores."
        )
    gpus = sum(node.gpus for node in nodes)
    if demand.gpus and not gpus:
        return "this session has no GPU. Use gpus=0."
    most = sum(_ranks_that_fit(node, demand) for node in nodes)
    if demand.gpus and sum(node.gpus // demand.gpus for node in nodes) < demand.ranks:
        return (
            f"{demand.ranks} ranks x {demand.gpus} GPUs need {demand.ranks * demand.gpus}, and {have} {gpus}. "
            f"Use at most {most} ranks, or gpus=0."
        )
    return (
        f"{demand.ranks} ranks x {demand.memory_bytes} bytes of memory do not fit: {have} "
        f"{sum(node.memory_bytes for node in nodes)} bytes. Use at most {most} ranks, or less memory a rank."
    )
