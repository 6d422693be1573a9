"""A small event loop over descriptors and timers, for the driver's thread and the agent."""

from __future__ import annotations

import heapq
import itertools
import math
import select
import time
from collections.abc import Callable

Callback = Callable[[], None]


class Loop:
    """Calls what is watched when it can be read, and timers when they are due; one thread only.

    What came together is handled in one turn; `after_turn` sends together what that has led to.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}
        self._new: set[int] = set()
        self._before_turn: list[Callback] = []
        self._after_turn: list[Callback] = []
        self._timers: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._running = False

    def watch(self, descriptor: int, callback: Callback) -> None:
        """Call back while `descriptor` can be read."""
        self._watched[descriptor] = callback
        self._new.add(descriptor)
        self._poll.register(descriptor, select.POLLIN)

    def when_writable(self, descriptor: int, callback: Callback) -> None:
        """Call back once, when a watched descriptor takes more."""
        self._writers[descriptor] = callback
        self._poll.modify(descriptor, select.POLLIN | select.POLLOUT)

    def unwatch(self, descriptor: int) -> None:
        self._writers.pop(descriptor, None)
        if self._watched.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def before_turn(self, callback: Callback) -> None:
        """Call back after waiting, before anything that has come is handled."""
        self._before_turn.append(callback)

    def after_turn(self, callback: Callback) -> None:
        """Call back at the end of each turn, before waiting."""
        self._after_turn.append(callback)

    def later(self, delay_s: float, callback: Callback) -> None:
        """Call back once, no sooner than `delay_s` from now."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), callback))

    def every(self, period_s: float, callback: Callback) -> None:
        """Call back now and then every `period_s`."""

        def tick() -> None:
            callback()
            self.later(period_s, tick)

        tick()

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        self._running = True
        self._end_turn()
        while self._running:
            self._new.clear()
            polled = self._poll.poll(self._wait_ms())
            for callback in self._before_turn:
                callback()
            for descriptor, events in polled:
                # A descriptor closed by an earlier callback may be another's by now: that one was not polled yet.
                if descriptor not in self._new and self._running:
                    self._serve(descriptor, events)
            if self._running:
                self._fire_timers()
            self._end_turn()

    def _serve(self, descriptor: int, events: int) -> None:
        if events & select.POLLOUT and descriptor in self._writers:
            self._poll.modify(descriptor, select.POLLIN)
            self._writers.pop(descriptor)()
        callback = self._watched.get(descriptor)
        if callback is not None and events & ~select.POLLOUT:
            callback()

    def _end_turn(self) -> None:
        for callback in self._after_turn:
            callback()

    def _wait_ms(self) -> int | None:
        if not self._timers:
            return None
        return max(0, math.ceil((self._timers[0][0] - time.monotonic()) * 1000))

    def _fire_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
