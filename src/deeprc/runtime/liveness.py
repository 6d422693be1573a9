"""Which nodes of the allocation are there: welcomed once their agent has said hello, lost when it ends or is silent."""

from __future__ import annotations

import os
import time

# An agent says it is alive every HEARTBEAT_S; one that has said nothing for SILENT_S is taken for dead, and so is a
# driver by its agents. Shorter limits are for tests: a node that swaps may well be silent for seconds.
HEARTBEAT_S = 1.0
SILENT_S = float(os.environ.get("DEEPRC_SILENT_S", "30"))
# A driver that looks this seldom has itself been stopped.
_PAUSE_S = 3 * HEARTBEAT_S


class Liveness:
    """What is known of each node's agent."""

    def __init__(self, nodes: list[str]) -> None:
        self._heard = dict.fromkeys(nodes, time.monotonic())
        self._looked = time.monotonic()
        self.ready: set[str] = set()

    @property
    def any_left(self) -> bool:
        return bool(self._heard)

    @property
    def nodes(self) -> list[str]:
        """Nodes that are not lost, whether their agents have come or not."""
        return list(self._heard)

    def heard(self, node: str) -> bool:
        """Note a sign of life; False if the node has been given up (its agent was only stopped, or cut off)."""
        if node not in self._heard:
            return False
        self._heard[node] = time.monotonic()
        return True

    def silent(self) -> dict[str, str]:
        """Nodes whose agents have not been heard for too long, with the reason in words."""
        now = time.monotonic()
        if now - self._looked > _PAUSE_S:
            # It was we who were stopped, or busy: nobody was listened to.
            self._heard = dict.fromkeys(self._heard, now)
        self._looked = now
        return {
            node: f"its agent has been silent for {now - self._heard[node]:.0f} s"
            for node in self.ready
            if now - self._heard[node] > SILENT_S
        }

    def lost(self, node: str) -> bool:
        """Give a node up; False if it had been already."""
        self.ready.discard(node)
        return self._heard.pop(node, None) is not None
