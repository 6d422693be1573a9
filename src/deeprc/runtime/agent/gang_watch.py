"""Finds gangs that are past their memory or their time, or stuck, and where the ranks of a failed gang were."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from deeprc.runtime.agent.enquiry import Enquiry
from deeprc.runtime.agent.gang import Gang
from deeprc.runtime.agent.rank_process import RankProcess
from deeprc.runtime.agent.rank_watch import RankWatch
from deeprc.runtime.agent.stuck import StuckWatch
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.messages import PartReturned
from deeprc.runtime.link.whereabouts import Whereabouts


class GangWatch:
    """Watches the gangs at work on a node. `fail(gang)` ends one once all is known of its failure.

    `is_at_work(gang)` is asked after a wait, in which a gang may have ended; `tell(message)` reaches the driver.
    """

    def __init__(
        self,
        loop: Loop,
        run_directory: Path,
        is_at_work: Callable[[Gang], bool],
        fail: Callable[[Gang], None],
        tell: Callable[[Any], None],
        record: Callable[..., None],
    ) -> None:
        self._loop = loop
        self._is_at_work = is_at_work
        self._fail = fail
        self._tell = tell
        self._rank_watch = RankWatch(run_directory, self._memory_exceeded, record)
        self._stuck_watch = StuckWatch(loop, self._stuck, self._part_returned)
        self.last_words_for = self._rank_watch.last_words_for
        self.returned_elsewhere = self._stuck_watch.returned_elsewhere

    def look(self, gangs: list[Gang]) -> None:
        """Look at the gangs at work, some times a second."""
        self._rank_watch.look(gangs)
        self._stuck_watch.look(gangs)

    def start_clock(self, gang: Gang) -> None:
        """Have a gang's timeout count from now: all its ranks run, those on other nodes included."""
        if gang.order.timeout_s is not None:
            self._loop.later(gang.order.timeout_s, partial(self._time_is_up, gang))

    def explain(self, gang: Gang) -> None:
        """End a gang that has failed; first ask where its ranks are, if that explains the failure."""
        gang.judge()
        if gang.failure is not None and gang.failure.kind == "raised" and gang.lost_a_rank:
            # Its death is the cause, and told in a moment.
            return
        if gang.failure is None or gang.failure.kind not in ("timeout", "stuck"):
            self._fail(gang)
        elif not gang.asking:
            gang.asking = True
            Enquiry(self._loop, gang, partial(self._explained, gang))

    def _explained(self, gang: Gang, places: tuple[Whereabouts, ...]) -> None:
        gang.locate(places)
        self._fail(gang)

    def _memory_exceeded(self, gang: Gang, process: RankProcess) -> None:
        gang.exceeded_memory(process)
        self._fail(gang)

    def _time_is_up(self, gang: Gang) -> None:
        if self._is_at_work(gang) and not gang.finished:
            gang.timed_out()
            self.explain(gang)

    def _stuck(self, gang: Gang, places: tuple[Whereabouts, ...]) -> None:
        if self._is_at_work(gang) and gang.failure is None:
            gang.stuck(places)
            self._fail(gang)

    def _part_returned(self, gang: Gang, entered: int) -> None:
        self._tell(PartReturned(gang.order.task, gang.order.attempt, entered))
