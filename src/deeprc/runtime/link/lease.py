"""For how long an agent may let its ranks run without its driver.

The driver answers each heartbeat with the time that the agent had put into it, and the lease lasts LEASE_S from that
time: whatever is late or lost on the way, and in whichever direction, the lease runs out before the driver, which has
heard that heartbeat later than it was sent, may have heard nothing for SILENT_S and begins the node's tasks elsewhere
(Gray and Cheriton 1989). The end of the lease stands in a page that the agent's zygotes and ranks share, so that an
agent which is itself stopped is not needed to end them.
"""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable

# An agent says it is alive every HEARTBEAT_S; one that has said nothing for SILENT_S is taken for dead: by then it has
# ended its ranks of its own accord. Shorter limits are for tests: a node that swaps, or a driver that is
# busy or stopped, may well be silent for seconds.
HEARTBEAT_S = 1.0
SILENT_S = float(os.environ.get("DEEPRC_SILENT_S", "75"))
# An agent that cannot reach the driver (a firewall, another network) never says hello. Python itself may take a minute
# to start from a busy shared file system.
HELLO_S = float(os.environ.get("DEEPRC_HELLO_S", "180"))
# What is left to SILENT_S is for ending ranks, and for clocks that do not run alike.
LEASE_S = 0.8 * SILENT_S


def now() -> float:
    """Seconds of a clock that goes on while the machine is suspended, the same in all its processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """An agent's lease; `file` is the page to share."""

    def __init__(self) -> None:
        self.file = os.memfd_create("deeprc-lease")
        os.truncate(self.file, mmap.PAGESIZE)
        self._until = memoryview(mmap.mmap(self.file, mmap.PAGESIZE)).cast("d")
        # Before the driver has answered for the first time, nothing runs here.
        self._until[0] = now() + HELLO_S

    def renew(self, sent_s: float) -> None:
        """Note that the driver has had a heartbeat of that time."""
        self._until[0] = sent_s + LEASE_S

    @property
    def is_over(self) -> bool:
        return now() > self._until[0]


def left_s(file: int) -> Callable[[], float]:
    """In a process that shares the page: how long the lease still lasts."""
    until = memoryview(mmap.mmap(file, mmap.PAGESIZE, prot=mmap.PROT_READ)).cast("d")
    return lambda: until[0] - now()


def call_when_over(file: int, end: Callable[[], None]) -> None:
    """Call `end` once the lease is over, by SIGALRM: whatever the process is busy with."""
    left = left_s(file)

    def look(*_: object) -> None:
        if left() <= 0:
            end()
        # Timers stand still while the machine is suspended.
        signal.setitimer(signal.ITIMER_REAL, min(max(left(), 0.01), HEARTBEAT_S))

    signal.signal(signal.SIGALRM, look)
    look()
