"""Asks the ranks of a gang on this node where they are in their code."""

from __future__ import annotations

import time
from collections.abc import Callable

from deeprc.runtime.agent.gang import Gang
from deeprc.runtime.agent.rank_process import RankProcess
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.rank_page import state_of
from deeprc.runtime.link.whereabouts import RETURNED, Whereabouts, is_whole, located, parsed

# A rank answers in less than a millisecond, unless its core is taken, or it is stopped.
_ANSWER_S = 3.0
_LOOK_S = 0.01

Done = Callable[[tuple[Whereabouts, ...]], None]


class Enquiry:
    """One question to all ranks of a gang; `done` gets the answers, at once after the last or when time is up."""

    def __init__(self, loop: Loop, gang: Gang, done: Done) -> None:
        self._loop = loop
        self._gang = gang
        self._done = done
        self._until = time.monotonic() + _ANSWER_S
        self._asked = [rank for rank in gang.ranks if not gang.has_returned(rank) and rank.page.ask(rank.pid)]
        loop.later(_LOOK_S, self._look)

    def _look(self) -> None:
        if all(is_whole(rank.page.answer()) for rank in self._asked) or time.monotonic() > self._until:
            self._done(tuple(self._where(rank) for rank in self._gang.ranks))
        else:
            self._loop.later(_LOOK_S, self._look)

    def _where(self, process: RankProcess) -> Whereabouts:
        gang = self._gang
        rank = gang.rank_of(process)
        if gang.has_returned(process):
            return Whereabouts(rank, gang.node, RETURNED)
        if rank in gang.raised_at:
            return gang.raised_at[rank]
        if process in self._asked and (stack := parsed(process.page.answer())):
            return located(rank, gang.node, stack, gang.order.backend)
        return Whereabouts(rank, gang.node, state_of(process.pid) if process.pid else "is still being started")
