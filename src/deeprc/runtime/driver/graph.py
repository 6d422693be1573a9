"""Which tasks wait for which. Pure: no process, no clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


class Graph:
    """A growing acyclic graph of unfinished tasks: a task only needs tasks that were added before it.

    `rank_upward` of a task is the longest path in seconds from its start to the end of the graph (Topcuoglu et
    al. 2002, HEFT): what is started late delays everything behind it.
    """

    def __init__(self) -> None:
        self._waiting_for: dict[str, set[str]] = {}
        self._dependents: dict[str, list[str]] = defaultdict(list)
        self._needs: dict[str, tuple[str, ...]] = {}
        self._seconds: dict[str, float] = {}
        self.rank_upward: dict[str, float] = {}

    def add(self, task: str, needs: Iterable[str], seconds: float) -> bool:
        """Add a task; `needs` holds the unfinished ones of what it needs. Returns whether it is ready."""
        unfinished = tuple(needs)
        self._waiting_for[task] = set(unfinished)
        self._needs[task] = unfinished
        self._seconds[task] = seconds
        self.rank_upward[task] = seconds
        for need in unfinished:
            self._dependents[need].append(task)
        self._raise_ancestors(task)
        return not unfinished

    def finish(self, task: str) -> list[str]:
        """Remove a task that succeeded; returns those that are ready now."""
        ready = []
        for dependent in self._dependents.pop(task, ()):
            waiting = self._waiting_for.get(dependent)
            if waiting is not None:
                waiting.discard(task)
                if not waiting:
                    ready.append(dependent)
        self._remove(task)
        return ready

    def fail(self, task: str) -> list[tuple[str, str]]:
        """Remove a task that did not succeed and all that need it; returns (dependent, what it needed)."""
        lost = []
        waiting = [task]
        while waiting:
            current = waiting.pop()
            for dependent in self._dependents.pop(current, ()):
                if dependent in self._waiting_for:
                    lost.append((dependent, current))
                    self._remove(dependent)
                    waiting.append(dependent)
            self._remove(current)
        return lost

    def _remove(self, task: str) -> None:
        for table in (self._waiting_for, self._needs, self._seconds, self.rank_upward):
            table.pop(task, None)

    def _raise_ancestors(self, task: str) -> None:
        waiting = [task]
        while waiting:
            current = waiting.pop()
            for need in self._needs.get(current, ()):
                if need not in self._seconds:
                    continue
                longest = self._seconds[need] + self.rank_upward[current]
                if longest > self.rank_upward[need]:
                    self.rank_upward[need] = longest
                    waiting.append(need)
