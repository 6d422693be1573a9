"""A small event loop over descriptors, ZeroMQ sockets and timers, for the driver's thread and the agent."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import select
import time
from collections.abc import Callable
from typing import Any

import zmq

Callback = Callable[[], None]
# As a number: arithmetic of enumerations is done in Python.
_READABLE = int(zmq.POLLIN)


class Loop:
    """Calls what is watched when it can be read, and timers when they are due; one thread only.

    What came together is handled in one turn; `after_turn` sends together what that has led to.
    """

    def __init__(self) -> None:
        # Not zmq.Poller: it describes all its sources anew each time, which costs more than a small task.
        self._poll = select.poll()
        self._watched: dict[int, Callback] = {}
        self._new: set[int] = set()
        self._sockets: dict[Any, Callback] = {}
        self._before_turn: list[Callback] = []
        self._after_turn: list[Callback] = []
        self._timers: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._running = False

    def watch(self, source: Any, callback: Callback) -> None:
        """Call back while `source`, a descriptor or a ZeroMQ socket, can be read."""
        if isinstance(source, int):
            self._watched[source] = callback
            self._new.add(source)
        else:
            self._sockets[source] = callback
        self._poll.register(_descriptor(source), select.POLLIN)

    def unwatch(self, source: Any) -> None:
        known: dict[Any, Callback] = self._watched if isinstance(source, int) else self._sockets
        if known.pop(source, None) is not None:
            with contextlib.suppress(KeyError):
                self._poll.unregister(_descriptor(source))

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
            for descriptor, _ in polled:
                watcher = self._watched.get(descriptor)
                # A descriptor closed by an earlier callback may be another's by now: that one was not polled yet.
                if watcher is not None and descriptor not in self._new and self._running:
                    watcher()
            for socket, callback in list(self._sockets.items()):
                if self._running and _can_be_read(socket):
                    callback()
            if self._running:
                self._fire_timers()
            self._end_turn()

    def _end_turn(self) -> None:
        for callback in self._after_turn:
            callback()

    def _wait_ms(self) -> int | None:
        # A ZeroMQ socket's descriptor tells of changes only, and sending may have taken notice of one.
        if any(map(_can_be_read, self._sockets)):
            return 0
        if not self._timers:
            return None
        return max(0, math.ceil((self._timers[0][0] - time.monotonic()) * 1000))

    def _fire_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()


def _descriptor(source: Any) -> int:
    return source if isinstance(source, int) else int(source.get(zmq.FD))


def _can_be_read(socket: Any) -> bool:
    return bool(socket.get(zmq.EVENTS) & _READABLE)
