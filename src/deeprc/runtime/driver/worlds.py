"""MPI worlds that span nodes, as the driver knows them: their names, which are warm, and what their ranks put.

Each agent answers PMI to its own ranks; values cross nodes here, one message an agent at each fence (as the
servers of PMI-2 and PMIx do, Balaji et al. 2010). Pure bookkeeping: the driver does the I/O.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from deeprc.runtime.link.messages import Profile

Key = tuple[Profile, tuple[tuple[str, int], ...]]


@dataclass
class _World:
    key: Key
    idle: bool = False
    fence: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def nodes(self) -> list[str]:
        return [node for node, _ in self.key[1]]

    @property
    def size(self) -> int:
        return sum(ranks for _, ranks in self.key[1])


class Worlds:
    """Names a world for each gang that needs one; keeps those that went well for the next of the same shape."""

    def __init__(self) -> None:
        self._worlds: dict[str, _World] = {}
        self._numbers = itertools.count(1)

    def acquire(self, profile: Profile, ranks: dict[str, int], *, fresh: bool) -> tuple[str, bool]:
        """A world of that many ranks on each node, and whether its ranks are there already."""
        key = (profile, tuple(ranks.items()))
        for name, world in () if fresh else reversed(self._worlds.items()):
            if world.idle and world.key == key:
                world.idle = False
                return name, True
        name = f"world-{next(self._numbers)}"
        self._worlds[name] = _World(key)
        return name, False

    def release(self, name: str) -> bool:
        """Keep a world whose task went well; False if it has been forgotten meanwhile."""
        world = self._worlds.pop(name, None)
        if world is None:
            return False
        # Put last: the idle ones that come first were used longest ago.
        self._worlds[name] = world
        world.idle = True
        return True

    def forget(self, name: str) -> list[str]:
        """Returns the nodes whose idle ranks are to be ended. A busy world is left to its task's end."""
        world = self._worlds.pop(name, None)
        return world.nodes if world and world.idle else []

    def surplus(self, keep_ranks: int) -> list[str]:
        """Idle worlds beyond so many ranks, the longest unused first: they hold memory."""
        idle = {name: world for name, world in self._worlds.items() if world.idle}
        ranks = sum(world.size for world in idle.values())
        names = []
        for name, world in idle.items():
            if ranks > keep_ranks:
                names.append(name)
                ranks -= world.size
        return names

    def on_node(self, node: str) -> list[str]:
        """Worlds with ranks on a node."""
        return [name for name, world in self._worlds.items() if node in world.nodes]

    def fence(self, name: str, node: str, values: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """Note what a node's ranks have put. Once all have come: the nodes to tell, and the values of all."""
        world = self._worlds.get(name)
        if world is None:
            return [], {}
        world.fence[node] = values
        if len(world.fence) < len(world.nodes):
            return [], {}
        merged = {key: value for part in world.fence.values() for key, value in part.items()}
        world.fence.clear()
        return world.nodes, merged
