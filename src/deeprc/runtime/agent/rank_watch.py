"""What an agent looks at, several times a second, while its ranks work: their memory and their output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from deeprc.runtime.agent.rank_log import bound_log
from deeprc.runtime.agent.rank_memory import gibibytes, held_bytes, mapped_bytes, out_of_memory_kills
from deeprc.runtime.process.family import descendants

if TYPE_CHECKING:
    from deeprc.runtime.agent.gang import Gang
    from deeprc.runtime.agent.rank_process import RankProcess

LOOK_S = 0.2
# Who a rank's children are is asked this seldom: it costs a listing of its threads.
_LOOKS_FOR_CHILDREN = 5


class RankWatch:
    """Keeps each working rank's peak memory and bounds its log. `exceeded(gang, rank)` ends a task past its memory."""

    def __init__(
        self, run_directory: Path, exceeded: Callable[[Gang, RankProcess], None], record: Callable[..., None]
    ) -> None:
        self._run_directory = run_directory
        self._exceeded = exceeded
        self._record = record
        self._looks = 0
        self._kills = out_of_memory_kills()

    def look(self, gangs: Iterable[Gang]) -> None:
        """Look at every rank of the gangs that run."""
        self._looks += 1
        for gang in gangs:
            for rank in gang.ranks:
                if rank.pid is not None:
                    self._look_at(gang, rank, rank.pid)

    def last_words_for(self, rank: RankProcess) -> str:
        """What was seen of a rank that has died: its memory, and whether the kernel was short of it."""
        kills, before = out_of_memory_kills(), self._kills
        self._kills = kills
        seen = f"; it held {gibibytes(rank.held_bytes)} when last seen" if rank.held_bytes else ""
        return seen + ("; the kernel's out-of-memory killer has been at work on this node" if kills > before else "")

    def _look_at(self, gang: Gang, rank: RankProcess, pid: int) -> None:
        if self._looks % _LOOKS_FOR_CHILDREN == 0:
            rank.children = descendants(pid)
        held = held_bytes(pid) + sum(map(held_bytes, rank.children))
        # A rank that has been killed and not yet waited for holds nothing: what it held before is what explains.
        rank.held_bytes = held or rank.held_bytes
        limit = gang.order.memory_bytes
        if limit and rank.held_bytes > limit:
            rank.held_bytes = self._without_datasets(pid) + sum(map(held_bytes, rank.children))
        rank.peak_bytes = max(rank.peak_bytes, rank.held_bytes)
        if bound_log(rank.log):
            rank.log_offset = 0
            self._record(
                "warning",
                task=gang.order.task,
                message=f"logs/{rank.log.name} was cut: {_TOO_LONG}",
            )
        if limit and rank.held_bytes > limit:
            self._exceeded(gang, rank)

    def _without_datasets(self, pid: int) -> int:
        """What a process holds besides datasets that lie on tmpfs, whose pages the kernel counts as its own."""
        datasets = self._run_directory / "datasets"
        # Asked before and after: what is mapped may change meanwhile.
        before, held, after = mapped_bytes(pid, datasets), held_bytes(pid), mapped_bytes(pid, datasets)
        return max(0, held - max(before, after))


_TOO_LONG = "a rank printed more than a log holds; its last lines are kept"
