"""What the runtime asks of a pilot: nodes, an agent on each, and news of their loss."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from typing import Protocol, cast

from deeprc.errors import SpecError, valid_values


@dataclass(frozen=True)
class Allocation:
    """What the user asked of a pilot; None leaves it to what is there."""

    cores: int | None = None
    gpus: int | None = None
    memory_bytes: int | None = None
    nodes: int | None = None


@dataclass(frozen=True)
class Node:
    """What one node of the allocation offers."""

    name: str
    cores: int
    gpus: int = 0
    memory_bytes: int = 0


class Pilot(Protocol):
    """Gets nodes and keeps one agent alive on each. Knows nothing of tasks."""

    def host(self, allocation: Allocation) -> str:
        """The address on which agents will reach the driver: loopback unless the run spans hosts."""
        ...

    def start(self, allocation: Allocation, run_directory: Path) -> list[Node]:
        """Get the nodes and start their agents; returns as soon as the nodes are known.

        Raises:
            ResourceError: the site cannot give what was asked.
        """
        ...

    def remarks(self) -> list[str]:
        """What the user should know of the nodes that `start` has given, such as cores left to others."""
        ...

    def lost_nodes(self) -> dict[str, str]:
        """Nodes whose agent has ended, with what is known of why."""
        ...

    def close(self, timeout_s: float = 10.0) -> None:
        """End agents that still run and give the nodes back; leaves nothing behind."""
        ...


def pilots() -> list[str]:
    """Names of all installed pilots."""
    return sorted(point.name for point in entry_points(group="deeprc.pilots"))


def chosen_pilot(pilot: str | Pilot) -> Pilot:
    """The pilot of that name, made with its defaults; a pilot that has been made is taken as it is.

    "NAME:SITE" says which of a pilot's sites is meant: "radical:ncsa.delta", "ray:10.0.0.1:6379".

    Raises:
        SpecError: there is none of that name, or it has one site only.
    """
    if not isinstance(pilot, str):
        return pilot
    name, _, site = pilot.partition(":")
    for point in entry_points(group="deeprc.pilots", name=name):
        made = point.load()
        if site and not signature(made).parameters:
            raise SpecError(f"the pilot {name!r} has one site only: write {name!r} without {site!r}")
        return cast(Pilot, made(site) if site else made())
    raise SpecError(f"unknown pilot {name!r}. {valid_values(name, pilots(), noun='pilot')}")
