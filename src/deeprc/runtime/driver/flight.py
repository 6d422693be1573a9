"""One attempt of a task on the nodes that hold its ranks. Pure bookkeeping: the driver does the I/O.

A gang ends when every node that holds a part of it has reported, so that the blame is right across nodes and no
core is given away while a rank still sits on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from deeprc.runtime.driver.scheduler import Placement, Seat
from deeprc.runtime.link.messages import Failure, GangFinished, GangStarted, RankPlace
from deeprc.runtime.link.whereabouts import RETURNED, Whereabouts

# What explains a failure comes first: exceptions follow from deaths, and deaths from the loss of a node.
_WEIGHT = {
    "cold": 0,
    "unserved": 0,
    "lost": 1,
    "memory": 2,
    "died": 2,
    "unjoined": 3,
    "timeout": 4,
    "stuck": 4,
    "raised": 5,
}


@dataclass
class Part:
    """The ranks of a gang on one node, and what was heard of them."""

    index: int
    first_rank: int
    seats: tuple[Seat, ...]
    state: Literal["running", "finished", "failed", "ended"] = "running"
    places: tuple[RankPlace, ...] = ()
    results: tuple[bytes, ...] = ()
    failures: list[Failure] = field(default_factory=list)


class Flight:
    """The parts of one attempt, by node, in rank order."""

    def __init__(self, attempt: int, placement: Placement, world: str | None = None) -> None:
        self.attempt = attempt
        self.world = world
        self.seconds = 0.0
        # When it finished, by the clock of the node that finished last.
        self.clock: dict[str, float] = {}
        self.peak_memory_bytes = 0
        # What a rank said that has stopped with a checkpoint instead of a result.
        self.stopped: str | None = None
        self.parts: dict[str, Part] = {}
        self._failures: list[Failure] = []
        self._whereabouts: tuple[Whereabouts, ...] = ()
        first = 0
        for node, seats in placement.by_node().items():
            self.parts[node] = Part(len(self.parts), first, seats)
            first += len(seats)

    @property
    def layout(self) -> tuple[int, ...]:
        """How many ranks each node holds."""
        return tuple(len(part.seats) for part in self.parts.values())

    @property
    def spans_nodes(self) -> bool:
        return len(self.parts) > 1

    @property
    def has_failed(self) -> bool:
        return bool(self._failures)

    @property
    def reported(self) -> bool:
        """Whether nothing more will be heard of any part."""
        return all(part.state != "running" for part in self.parts.values())

    def started(self, node: str, message: GangStarted) -> tuple[RankPlace, ...]:
        """Note that a part runs; returns the places of all ranks once the last part does."""
        self.parts[node].places = message.ranks
        if not all(part.places for part in self.parts.values()):
            return ()
        return tuple(place for part in self.parts.values() for place in part.places)

    def finished(self, node: str, message: GangFinished) -> None:
        part = self.parts[node]
        part.state, part.results = "finished", message.results
        self.peak_memory_bytes = max(self.peak_memory_bytes, message.peak_memory_bytes)
        self.seconds = max(self.seconds, message.seconds)
        self.stopped = self.stopped or message.stopped
        self.clock = {"time": max(message.time, self.clock.get("time", 0.0))}

    def results(self) -> tuple[bytes, ...]:
        """What ranks sent that counts: rank 0's result first."""
        return tuple(result for part in self.parts.values() for result in part.results)

    def failed(self, node: str, failure: Failure, seconds: float) -> None:
        self.parts[node].state = "failed"
        self._failures.append(failure)
        self.seconds = max(self.seconds, seconds)

    def ended(self, node: str, whereabouts: tuple[Whereabouts, ...] = ()) -> None:
        """Note that a part has been ended for what happened elsewhere, and where its ranks were."""
        self._whereabouts += whereabouts
        if self.parts[node].state != "failed":
            self.parts[node].state = "ended"

    def lost(self, node: str, why: str) -> None:
        """Note that a node is gone with what it held."""
        part = self.parts[node]
        if part.state == "running":
            self.failed(node, Failure("lost", f"node {node} is lost: {why}", part.first_rank, node), 0.0)

    def to_end(self) -> list[str]:
        """Nodes that may still hold ranks of the attempt."""
        return [node for node, part in self.parts.items() if part.state in ("running", "finished")]

    def blamed(self) -> Failure:
        """The failure that explains the others; of equals, the first that was heard."""
        worst = min(self._failures, key=_weight)
        if worst.kind not in ("timeout", "stuck"):
            return worst
        late = {rank for failure in self._failures for rank in failure.late}
        if worst.kind == "timeout":
            # Of parts that were ended before their own clock had come so far.
            late |= {place.rank for place in self._whereabouts if place.text != RETURNED}
        places = [place for failure in self._failures for place in failure.whereabouts]
        first = min(_of_kind(self._failures, worst.kind), key=lambda failure: failure.rank)
        return replace(first, late=tuple(sorted(late)), whereabouts=(*places, *self._whereabouts))

    @property
    def needs_whereabouts(self) -> bool:
        """Whether it explains the failure of a part where the ranks of the others are."""
        return any(failure.kind in ("stuck", "timeout") for failure in self._failures)


def _weight(failure: Failure) -> int:
    # A peer may exit because of a death elsewhere; a signal comes from outside.
    return _WEIGHT[failure.kind] + (failure.kind == "died" and failure.signal is None)


def _of_kind(failures: Sequence[Failure], kind: str) -> list[Failure]:
    return [failure for failure in failures if failure.kind == kind]
