"""Finds ranks that wait for a peer which can never come, since its function has returned.

Sure is the case of a rank that is in a collective of its communicator which a peer that has returned never entered, by
the count that each keeps. A user's own MPI calls are not counted: there all ranks that are left have to wait at the
same place for as long as `STUCK_S`. The ranks of GLOO are told by the library when a peer hangs up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from deeprc.runtime.agent.enquiry import Enquiry
from deeprc.runtime.agent.gang import Gang
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.rank_page import Progress
from deeprc.runtime.link.whereabouts import RETURNED, Whereabouts

STUCK_S = float(os.environ.get("DEEPRC_STUCK_S", "30"))
# A rank that is a moment late still comes out of the collective before.
_SURE_S = 1.0


@dataclass
class _Wait:
    """What is known of a gang one of whose ranks has returned."""

    since: float | None = None
    # What the rank on another node that has entered the fewest collectives and returned has entered.
    fewest_elsewhere: int | None = None
    told: bool = False
    ask_again: float = 0.0
    seen: tuple[Whereabouts, ...] = ()


class StuckWatch:
    """Looks at gangs, some times a second; `stuck(gang, places)` ends one.

    `returned(gang, entered)` tells other nodes that ranks here have returned, having entered so many collectives.
    """

    def __init__(
        self,
        loop: Loop,
        stuck: Callable[[Gang, tuple[Whereabouts, ...]], None],
        returned: Callable[[Gang, int], None],
    ) -> None:
        self._loop = loop
        self._stuck = stuck
        self._returned = returned
        self._waits: dict[tuple[str, int], _Wait] = {}

    def look(self, gangs: Sequence[Gang]) -> None:
        """Look at every gang that runs."""
        gangs = [gang for gang in gangs if gang.order.size > 1 and gang.failure is None]
        running = {gang.order.key for gang in gangs}
        self._waits = {key: wait for key, wait in self._waits.items() if key in running}
        for gang in gangs:
            self._look_at(gang, self._waits.setdefault(gang.order.key, _Wait()))

    def returned_elsewhere(self, gang: Gang, entered: int) -> None:
        """Note that ranks on another node have returned."""
        wait = self._waits.setdefault(gang.order.key, _Wait())
        before = wait.fewest_elsewhere
        wait.fewest_elsewhere = entered if before is None else min(entered, before)

    def _look_at(self, gang: Gang, wait: _Wait) -> None:
        progress = {gang.rank_of(rank): rank.page.progress(rank.pid) for rank in gang.ranks}
        ended = {rank for rank in progress if rank in gang.results or progress[rank].ended}
        if not ended and wait.fewest_elsewhere is None:
            return
        now = time.monotonic()
        wait.since = wait.since or now
        counts = [progress[rank].entered for rank in ended if rank not in gang.results]
        if counts and gang.order.spans_nodes and not wait.told and now - wait.since > _SURE_S:
            wait.told = True
            self._returned(gang, min(counts))
        if wait.fewest_elsewhere is not None:
            counts.append(wait.fewest_elsewhere)
        ahead = _ahead(progress, ended, counts)
        # Of other nodes' ranks nothing is known here, but what they have counted.
        patience_s = _SURE_S if ahead else float("inf") if gang.order.spans_nodes else STUCK_S / 2
        if len(ended) < len(progress) and now >= max(wait.since + patience_s, wait.ask_again):
            # Ranks are disturbed less and less often.
            wait.ask_again = now + max(patience_s, now - wait.since)
            Enquiry(self._loop, gang, partial(self._judge, gang, wait, ahead))

    def _judge(self, gang: Gang, wait: _Wait, ahead: set[int], places: tuple[Whereabouts, ...]) -> None:
        if self._waits.get(gang.order.key) is not wait or gang.failure is not None:
            return
        left = tuple(place for place in places if place.text != RETURNED)
        all_wait_still = bool(left) and all(place.waits for place in left) and left == wait.seen
        wait.seen = left
        if all_wait_still or any(place.waits and place.rank in ahead for place in left):
            self._stuck(gang, places)


def _ahead(progress: dict[int, Progress], ended: set[int], counts: Sequence[int]) -> set[int]:
    """Ranks that have entered a collective which one that has returned has not."""
    return {rank for rank, at in progress.items() if rank not in ended and counts and at.entered > min(counts)}
