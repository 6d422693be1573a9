"""What driver, agents and ranks say to each other: frozen, picklable, sent only over authenticated channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Profile:
    """What a zygote has imported, and how many threads its ranks use.

    Threads belong here because Polars and OpenMP read their number once, when they are imported.
    """

    family: Literal["tables", "torch", "tensorflow", "torch+tensorflow"]
    threads: int

    def __str__(self) -> str:
        return self.family if self.threads == 1 else f"{self.family} x{self.threads}"


@dataclass(frozen=True)
class Prepare:
    """Driver to agent: a task of this profile will come; start importing."""

    profile: Profile
    modules: tuple[str, ...]


@dataclass(frozen=True)
class RunGang:
    """Driver to agent: start all ranks of one attempt of a task on this node.

    `call` is the pickled (function, args, kwargs), in which results of other tasks are persistent ids;
    `inputs` maps those ids to pickled results. `slots` and `gpus` have one entry for each rank.
    """

    task: str
    attempt: int
    backend: str | None
    profile: Profile
    modules: tuple[str, ...]
    slots: tuple[int, ...]
    gpus: tuple[tuple[int, ...], ...]
    call: bytes
    inputs: dict[str, bytes]
    timeout_s: float | None = None
    isolated: bool = False
    # What each rank may hold; None: all there is.
    memory_bytes: int | None = None

    @property
    def size(self) -> int:
        return len(self.slots)

    @property
    def key(self) -> tuple[str, int]:
        return self.task, self.attempt


@dataclass(frozen=True)
class CancelTask:
    """Driver to agent: end the ranks of a task."""

    task: str


@dataclass(frozen=True)
class Shutdown:
    """Driver to agent: end everything and leave."""


@dataclass(frozen=True)
class Heartbeat:
    """Both ways: the other side is alive."""


@dataclass(frozen=True)
class Hello:
    """Agent to driver: this node is ready for work."""

    node: str
    pid: int


@dataclass(frozen=True)
class RankPlace:
    rank: int
    node: str
    slot: int
    pid: int


@dataclass(frozen=True)
class GangStarted:
    """Agent to driver: all ranks run."""

    task: str
    attempt: int
    ranks: tuple[RankPlace, ...]


@dataclass(frozen=True)
class GangFinished:
    """Agent to driver: every rank has returned. `results` holds rank 0's and every other rank's Dataset."""

    task: str
    attempt: int
    seconds: float
    results: tuple[bytes, ...]
    peak_memory_bytes: int = 0


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed. `kind` picks the error: "raised", "died", "timeout" or "memory"."""

    kind: Literal["raised", "died", "timeout", "memory"]
    message: str
    rank: int
    node: str
    traceback: str = ""
    output: str = ""
    signal: str | None = None
    exit_code: int | None = None
    peak_memory_bytes: int = 0
    memory_limit_bytes: int = 0


@dataclass(frozen=True)
class GangFailed:
    """Agent to driver: the attempt failed and its ranks have been ended."""

    task: str
    attempt: int
    seconds: float
    failure: Failure


@dataclass(frozen=True)
class JournalEvent:
    """Agent to driver: something to write into the journal."""

    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Assignment:
    """Agent to rank: your part of a task."""

    task: str
    attempt: int
    rank: int
    size: int
    backend: str | None
    threads: int
    gpus: tuple[int, ...]
    call: bytes
    inputs: dict[str, bytes]


@dataclass(frozen=True)
class RankReturned:
    """Rank to agent: my part is done. `result` is None where only rank 0's counts.

    `held_bytes` is the anonymous memory of the process; `left_children` says that the task left processes behind.
    """

    result: bytes | None
    held_bytes: int
    left_children: bool = False


@dataclass(frozen=True)
class RankRaised:
    """Rank to agent: the function raised."""

    message: str
    traceback: str
    error: str = ""
