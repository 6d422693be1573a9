"""A small event loop over descriptors, ZeroMQ sockets and timers, for the driver's thread and the agent."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import zmq

Callback = Callable[[], None]


class Loop:
    """Calls what is watched when it can be read, and timers when they are due; one thread only."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._watched: dict[Any, Callback] = {}
        self._timers: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._running = False

    def watch(self, source: Any, callback: Callback) -> None:
        """Call back while `source`, a descriptor or a ZeroMQ socket, can be read."""
        self._watched[source] = callback
        self._poller.register(source, zmq.POLLIN)

    def unwatch(self, source: Any) -> None:
        if self._watched.pop(source, None) is not None:
            self._poller.unregister(source)

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
        while self._running:
            for source, _ in self._poller.poll(self._wait_ms()):
                callback = self._watched.get(source)
                if callback is not None and self._running:
                    callback()
            self._fire_timers()

    def _wait_ms(self) -> int | None:
        if not self._timers:
            return None
        return max(0, math.ceil((self._timers[0][0] - time.monotonic()) * 1000))

    def _fire_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
