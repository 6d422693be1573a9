"""The ranks of one attempt of a task on one node, from start to result or failure, as their agent sees them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from deeprc.runtime.agent.launcher import launcher, launcher_name, launcher_spans_nodes
from deeprc.runtime.agent.pmi_server import PmiServer
from deeprc.runtime.agent.rank_memory import gibibytes
from deeprc.runtime.agent.rank_process import RankProcess
from deeprc.runtime.link.messages import Failure, RankPlace, RankRaised, RunGang
from deeprc.runtime.link.whereabouts import RETURNED, Whereabouts, located, ranks_in_words
from deeprc.runtime.process.exits import ending_signal, how_it_ended

# How the errors read that torch.distributed raises when a peer has hung up.
_HUNG_UP = ("closed by peer", "reset by peer", "roken pipe")


@dataclass
class Gang:
    """State of one attempt on this node. Pure bookkeeping: `Gangs` does the I/O.

    `ranks[i]` is the rank `numbers[i]` of the task; all numbers told to others are the task's.
    """

    order: RunGang
    ranks: list[RankProcess]
    node: str
    # The cores of each rank; of a task that was sent ahead, those of the task before it.
    cores: tuple[tuple[int, ...], ...]
    results: dict[int, bytes | None] = field(default_factory=dict)
    raised_at: dict[int, Whereabouts] = field(default_factory=dict)
    failure: Failure | None = None
    # Where the rank whose exception was the first is, if it saw a peer hang up.
    hung_up_on: Whereabouts | None = None
    # Whether ranks are being asked where they are, after which the failure will be told.
    asking: bool = False
    stopped: str | None = None
    started: float | None = None

    def __post_init__(self) -> None:
        self.numbers = self.order.ranks

    def rank_of(self, process: RankProcess) -> int:
        return self.numbers[self.ranks.index(process)]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started if self.started is not None else 0.0

    @property
    def peak_memory_bytes(self) -> int:
        """The most that one of its ranks has held."""
        return max(rank.peak_bytes for rank in self.ranks)

    @property
    def has_all_pids(self) -> bool:
        return all(rank.pid is not None for rank in self.ranks)

    @property
    def places(self) -> tuple[RankPlace, ...]:
        """Where each of its ranks runs."""
        return tuple(
            RankPlace(rank, self.node, cores[0], process.pid or 0)
            for rank, cores, process in zip(self.numbers, self.cores, self.ranks, strict=True)
        )

    @property
    def gives_one_core(self) -> bool:
        """Whether its end leaves room for a task that was sent ahead: one core, and nothing else that is counted."""
        order = self.order
        return order.layout == (1,) and len(self.cores[0]) == 1 and not order.gpus[0] and order.memory_bytes is None

    @property
    def may_start_plainly(self) -> bool:
        """Whether the MPI library's own launcher, or the site's, is still to be tried."""
        served = isinstance(self.ranks[0].world, PmiServer)
        return served and (launcher_spans_nodes() if self.order.spans_nodes else launcher([self.node]) is not None)

    @property
    def lost_a_rank(self) -> bool:
        """Whether a rank has hung up, and how it ended is still to come."""
        return any(not rank.channel.is_open for rank in self.ranks)

    @property
    def finished(self) -> bool:
        return len(self.results) == len(self.ranks)

    def returned(self, process: RankProcess, result: bytes | None) -> None:
        self.results[self.rank_of(process)] = result

    def has_returned(self, process: RankProcess) -> bool:
        """Whether the function of a rank has returned, also if its result is still on its way."""
        return self.rank_of(process) in self.results or process.page.progress(process.pid).ended

    def packed_results(self) -> tuple[bytes, ...]:
        """What ranks sent that counts, in rank order."""
        ordered = (self.results[rank] for rank in self.numbers)
        return tuple(result for result in ordered if result is not None)

    def raised(self, process: RankProcess, error: RankRaised) -> None:
        """Note an exception; the first of a gang is the cause, those of its peers follow from it."""
        rank = self.rank_of(process)
        place = located(rank, self.node, error.frames, self.order.backend)
        self.raised_at[rank] = place
        if self.failure is None:
            hung_up = place.waits and any(text in error.message for text in _HUNG_UP)
            self.hung_up_on = place if hung_up else None
            self.failure = Failure(
                kind="raised",
                message=error.message,
                rank=rank,
                node=self.node,
                traceback=error.traceback,
                output=process.last_output(),
            )

    def judge(self) -> None:
        """Tell a rank that waited in vain from one that failed: the peer that hung up on it has returned.

        That peer may say so a moment later than the rank says what it saw.
        """
        failed = self.failure is not None and self.failure.kind == "raised"
        returned = [self.rank_of(rank) for rank in self.ranks if self.has_returned(rank)]
        if failed and self.hung_up_on is not None and returned:
            self.stuck((self.hung_up_on, *(Whereabouts(rank, self.node, RETURNED) for rank in returned)))

    def died(self, process: RankProcess, last_words: str = "") -> None:
        """Note a death; it outranks exceptions, which peers raise when a collective loses a rank."""
        if self.failure is not None and self.failure.kind not in ("raised", "stuck"):
            return
        how = _how_a_rank_ended(process.exit_code, joining=process.joining)
        if process.forsaken is not None:
            how = f"was {'not started' if process.pid is None else 'ended'}, as {process.forsaken}"
        self.failure = Failure(
            kind="unjoined" if process.joining else "died",
            message=how + last_words,
            rank=self.rank_of(process),
            node=self.node,
            output=process.last_output(),
            signal=None if process.exit_code is None else ending_signal(process.exit_code),
            exit_code=process.exit_code,
        )

    def exceeded_memory(self, process: RankProcess) -> None:
        """Note that a rank holds more than its task's memory."""
        limit = self.order.memory_bytes or 0
        self.failure = Failure(
            kind="memory",
            message=f"held {gibibytes(process.peak_bytes)}, more than its task's memory of {gibibytes(limit)}",
            rank=self.rank_of(process),
            node=self.node,
            output=process.last_output(),
            peak_memory_bytes=process.peak_bytes,
            memory_limit_bytes=limit,
        )

    def timed_out(self) -> None:
        """Note that time is up; blames the first rank that has not returned."""
        late = [rank for rank in self.numbers if rank not in self.results]
        self.failure = Failure(
            kind="timeout",
            message=f"ran past its timeout of {self.order.timeout_s:g} s",
            rank=late[0],
            node=self.node,
            output=self.ranks[late[0] - self.numbers[0]].last_output(),
            late=tuple(late),
        )

    def stuck(self, places: Sequence[Whereabouts]) -> None:
        """Note that ranks wait for one that has returned."""
        waiting = sorted(place.rank for place in places if place.waits)
        returned = sorted(place.rank for place in places if place.text == RETURNED)
        peers = ranks_in_words(returned) if returned else "ranks on other nodes"
        verb = "has" if len(returned) == 1 else "have"
        self.failure = Failure(
            kind="stuck",
            message=f"waits in vain for {peers}, which {verb} returned",
            rank=waiting[0],
            node=self.node,
            output=self.ranks[waiting[0] - self.order.ranks[0]].last_output(),
            whereabouts=tuple(places),
        )

    def reported(self) -> Failure:
        """The failure, with the log of the rank that it blames."""
        assert self.failure is not None
        blamed = self.ranks[self.failure.rank - self.numbers[0]]
        return replace(self.failure, log=f"logs/{blamed.log.name}")

    def locate(self, places: tuple[Whereabouts, ...]) -> None:
        """Note where the ranks were when it failed."""
        if self.failure is not None and self.failure.kind == "stuck" and any(place.waits for place in places):
            self.stuck(places)
        elif self.failure is not None:
            self.failure = replace(self.failure, whereabouts=places)

    def cold(self) -> None:
        """Note that the warm MPI world which the driver named is not there any more."""
        message = "a rank of its warm MPI world had ended before it began"
        self.failure = Failure(kind="cold", message=message, rank=self.numbers[0], node=self.node)

    def unserved(self) -> None:
        """Note that the MPI library does not take the agents' word for a world that spans nodes."""
        name = launcher_name([str(part) for part in range(len(self.order.layout))])
        message = f"MPI ranks are started by {name}, seconds each: the MPI library needs it"
        self.failure = Failure(kind="unserved", message=message, rank=self.numbers[0], node=self.node)


def _how_a_rank_ended(exit_code: int | None, *, joining: bool) -> str:
    if exit_code is None:
        return "closed its channel without a result"
    if joining:
        return f"{how_it_ended(exit_code)} in MPI_Init, before its function began"
    return how_it_ended(exit_code) + (" before its function returned" if exit_code >= 0 else "")
