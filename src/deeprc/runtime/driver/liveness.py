"""Which nodes of the allocation are there: welcomed once their agent has said hello, lost when it ends or is silent."""

from __future__ import annotations

import time

from deeprc.runtime.link.lease import HEARTBEAT_S, HELLO_S, SILENT_S

# A driver that looks this seldom has itself been stopped.
_PAUSE_S = 3 * HEARTBEAT_S


class Liveness:
    """What is known of each node's agent."""

    def __init__(self, nodes: list[str]) -> None:
        self._heard = dict.fromkeys(nodes, time.monotonic())
        self._looked = time.monotonic()
        self.ready: set[str] = set()
        # The last time that each agent has put into a heartbeat.
        self.clocks: dict[str, float] = {}

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
        """Nodes whose agents have not been heard for too long, or never, with the reason in words."""
        now = time.monotonic()
        if now - self._looked > _PAUSE_S:
            # It was we who were stopped, or busy: nobody was listened to.
            self._heard = dict.fromkeys(self._heard, now)
        self._looked = now
        waited = {node: now - heard for node, heard in self._heard.items()}
        fallen = {
            node: f"its agent has been silent for {waited[node]:.0f} s"
            for node in self.ready
            if waited[node] > SILENT_S
        }
        absent = {
            node: f"its agent has not reached the driver within {HELLO_S:.0f} s: see the agent's log in the run's "
            "logs/, and whether the node may connect to this one"
            for node in waited
            if node not in self.ready and waited[node] > HELLO_S
        }
        return fallen | absent

    def lost(self, node: str) -> bool:
        """Give a node up; False if it had been already."""
        self.ready.discard(node)
        return self._heard.pop(node, None) is not None
