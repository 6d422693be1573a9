"""Short tasks sent to a node before it has a core for them, so that no core waits for the driver. Pure bookkeeping.

A node's agent hands them out, in order, as its cores come free. Only tasks of functions that have been seen to take
milliseconds are sent, and about as many as a node does in `_WORTH_S`; what has not begun is called back when a core is
free elsewhere. So no task waits behind a long one while a core is free.
"""

from __future__ import annotations

# How long a node should be able to do without the driver, whose thread shares an interpreter with the user's.
_WORTH_S = 0.03
_LONGEST_S = 0.01
_MOST_PER_CORE = 128
# What counts for a task beside its own time.
_OVERHEAD_S = 0.0001
_MEMORY = 0.8


class Ahead:
    """What has been sent ahead to each node, and how long the tasks of a function take."""

    def __init__(self, cores: dict[str, int]) -> None:
        self._cores = cores
        self._seconds: dict[object, float] = {}
        self._sent: dict[str, dict[str, object]] = {node: {} for node in cores}
        self._recalled: set[str] = set()

    def took(self, kind: object, seconds: float) -> None:
        """Learn from a task that has finished; a long one tells more than a short one."""
        known = self._seconds.get(kind, seconds)
        self._seconds[kind] = max(seconds, _MEMORY * known) if seconds > known else known + 0.2 * (seconds - known)

    def is_short(self, kind: object) -> bool:
        return self._seconds.get(kind, _LONGEST_S) < _LONGEST_S

    def room(self, node: str, kind: object) -> int:
        """How many more tasks of a kind to send to a node."""
        if node in self._recalled:
            return 0
        each = self._seconds.get(kind, _LONGEST_S) + _OVERHEAD_S
        most = self._cores[node] * min(_MOST_PER_CORE, int(_WORTH_S / each))
        waiting = len(self._sent[node])
        # In batches: one message for many tasks.
        return most - waiting if waiting <= most // 2 else 0

    def sent(self, node: str, task: str, kind: object) -> None:
        self._sent[node][task] = kind

    def gone(self, node: str, task: str) -> bool:
        """Note that a task has begun, has come back or is not wanted any more; whether it was waiting there.

        A node that is lost has none waiting.
        """
        return node in self._sent and self._sent[node].pop(task, None) is not None

    def recall(self) -> list[str]:
        """Nodes to call back from what they have not begun."""
        nodes = [node for node, sent in self._sent.items() if sent and node not in self._recalled]
        self._recalled.update(nodes)
        return nodes

    def came_back(self, node: str) -> None:
        self._recalled.discard(node)

    def lost(self, node: str) -> list[str]:
        """The tasks that waited on a node which is gone."""
        self._recalled.discard(node)
        return list(self._sent.pop(node, ()))
