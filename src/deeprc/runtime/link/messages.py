"""What driver, agents and ranks say to each other: frozen, picklable, sent only over authenticated channels.

What is said of every task is a named tuple: made, packed and unpacked in a fraction of a dataclass's time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from deeprc.runtime.link.whereabouts import Frame, Whereabouts


class Profile(NamedTuple):
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


class PickledFunction(NamedTuple):
    """A function on its way to ranks.

    `key` is the hash of `payload`, or None for one that is sent with each task. A receiver keeps what has a key, and
    is then sent the key alone, with None as payload. `reusable`: a rank may call the same copy again.
    """

    key: bytes | None
    payload: bytes | None
    reusable: bool


class RunGang(NamedTuple):
    """Driver to agent: start those ranks of one attempt of a task that this node holds.

    `layout` says how many ranks each of the gang's nodes holds, in rank order, and `part` which of them this is;
    `cores` and `gpus` have one entry for each rank here. `world` names an MPI world that spans nodes; when `warm`,
    its ranks are there from an earlier task. With `plain_mpi` a launcher starts a world, the agents do not serve it.

    `function` and `arguments` are the pickled call, in which names of tasks stand for their results; `inputs` maps
    those names to pickled results. With `ahead` the task waits here for the next core that a task of this node gives
    back, and `cores` says nothing.
    """

    function: PickledFunction
    profile: Profile
    task: str
    attempt: int
    backend: str | None
    modules: tuple[str, ...]
    layout: tuple[int, ...]
    part: int
    cores: tuple[tuple[int, ...], ...]
    gpus: tuple[tuple[int, ...], ...]
    arguments: bytes
    inputs: dict[str, bytes]
    timeout_s: float | None = None
    isolated: bool = False
    # What each rank may hold, and is ended for holding more; None: all there is.
    memory_bytes: int | None = None
    # What each rank's tables are to stay within; None: as much as they take.
    table_bytes: int | None = None
    world: str | None = None
    warm: bool = False
    plain_mpi: bool = False
    ahead: bool = False

    @property
    def size(self) -> int:
        """Ranks of the whole gang."""
        return sum(self.layout)

    @property
    def spans_nodes(self) -> bool:
        return len(self.layout) > 1

    @property
    def ranks(self) -> range:
        """The ranks that this node holds."""
        first = sum(self.layout[: self.part])
        return range(first, first + self.layout[self.part])

    @property
    def key(self) -> tuple[str, int]:
        return self.task, self.attempt


@dataclass(frozen=True)
class Recall:
    """Driver to agent: give back, by `Returned`, what was sent ahead and has not begun."""


@dataclass(frozen=True)
class Returned:
    """Agent to driver: these attempts, sent ahead, will not begin here."""

    attempts: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class CancelTask:
    """Driver to agent: end the ranks of a task."""

    task: str


@dataclass(frozen=True)
class GangRuns:
    """Driver to agents: all ranks of a gang that spans nodes run; the clock of its timeout starts."""

    task: str
    attempt: int


@dataclass(frozen=True)
class ReleaseGang:
    """Driver to agents: all parts of a gang that spans nodes have finished; its ranks may serve others."""

    task: str
    attempt: int


@dataclass(frozen=True)
class EndGang:
    """Driver to agents: another part of the gang has failed; end yours, and say so by `GangFailed` or `GangEnded`.

    `ask`: find out first where its ranks are.
    """

    task: str
    attempt: int
    ask: bool = False


@dataclass(frozen=True)
class GangEnded:
    """Agent to driver: no rank of that attempt is left here."""

    task: str
    attempt: int
    whereabouts: tuple[Whereabouts, ...] = ()


@dataclass(frozen=True)
class GangShares:
    """Agent to driver and on to the gang's other agents: what rank 0 tells its peers so that they can meet."""

    task: str
    attempt: int
    value: str


@dataclass(frozen=True)
class WorldFence:
    """Agent to driver: all ranks here of an MPI world wait in a barrier; `values` they have put since the last.

    Or, before any is started, its launcher waits for where their agents listen.
    """

    world: str
    values: dict[str, str]


@dataclass(frozen=True)
class WorldValues:
    """Driver to agents: all have come to the barrier; what the ranks of all nodes have put."""

    world: str
    values: dict[str, str]


@dataclass(frozen=True)
class WorldEnds:
    """Either way: an idle MPI world that spans nodes has lost a rank, or is no longer wanted."""

    world: str


@dataclass(frozen=True)
class StopSoon:
    """Driver to agents, and on to ranks at work: the run stops; write a checkpoint."""


@dataclass(frozen=True)
class Shutdown:
    """Driver to agent: end everything and leave."""


@dataclass(frozen=True)
class Heartbeat:
    """Both ways: the other side is alive.

    `sent_s` is the agent's clock (`lease.now`); the driver answers with what it has last had of that agent.
    """

    sent_s: float


@dataclass(frozen=True)
class Hello:
    """Agent to driver: this node is ready for work. `address` is what it reaches the driver from.

    `plain_mpi`: a launcher is to start MPI worlds, on several nodes too.
    """

    node: str
    pid: int
    address: str
    plain_mpi: bool = False


class RankPlace(NamedTuple):
    rank: int
    node: str
    slot: int
    pid: int


class GangStarted(NamedTuple):
    """Agent to driver: all ranks of this part run. `time` is the node's clock, in seconds since the epoch."""

    task: str
    attempt: int
    ranks: tuple[RankPlace, ...]
    time: float


class GangFinished(NamedTuple):
    """Agent to driver: every rank here has returned. `results` holds rank 0's and every other rank's Dataset."""

    task: str
    attempt: int
    seconds: float
    results: tuple[bytes, ...]
    peak_memory_bytes: int = 0
    time: float = 0.0
    # Which attempt, of those sent ahead, has got the task's core.
    then: tuple[str, int] | None = None
    # What a rank said that has stopped, having written a checkpoint: there is no result.
    stopped: str | None = None


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed. `kind` picks the error.

    The task is to be started again if it is "cold": a warm MPI world had lost a rank before the task began; or
    "unserved": its MPI world has to be started by a launcher; or, not for ever, "unjoined": a rank died in MPI_Init,
    so that the task's function has begun on none.
    """

    kind: Literal["raised", "died", "timeout", "stuck", "memory", "lost", "cold", "unserved", "unjoined"]
    message: str
    rank: int
    node: str
    traceback: str = ""
    output: str = ""
    # The file, below the run directory, in which all that the rank has printed is.
    log: str = ""
    signal: str | None = None
    exit_code: int | None = None
    peak_memory_bytes: int = 0
    memory_limit_bytes: int = 0
    # Of a timeout: the ranks that had not returned.
    late: tuple[int, ...] = ()
    # Of a timeout, and of ranks that waited in vain: where each rank was.
    whereabouts: tuple[Whereabouts, ...] = ()


@dataclass(frozen=True)
class GangFailed:
    """Agent to driver: the attempt failed here, and its ranks here have been ended."""

    task: str
    attempt: int
    seconds: float
    failure: Failure
    then: tuple[str, int] | None = None


@dataclass(frozen=True)
class PartReturned:
    """Agent to driver, and on to the gang's other agents: ranks here have returned, and wait for the others.

    `entered` is how many collectives they have entered: a rank that is in a later one waits in vain.
    """

    task: str
    attempt: int
    entered: int


@dataclass(frozen=True)
class JournalEvent:
    """Agent to driver: something to write into the journal."""

    kind: str
    fields: dict[str, Any]


class Assignment(NamedTuple):
    """Agent to rank: your part of a task."""

    task: str
    attempt: int
    rank: int
    layout: tuple[int, ...]
    address: str
    backend: str | None
    threads: int
    cores: tuple[int, ...]
    gpus: tuple[str, ...]
    # A `PickledFunction`, plain: that is packed and unpacked in half the time.
    function: tuple[bytes | None, bytes | None, bool]
    arguments: bytes
    inputs: dict[str, bytes]
    table_bytes: int | None


class RankReturned(NamedTuple):
    """Rank to agent: my part is done. `result` is None where only rank 0's counts.

    `held_bytes` is the anonymous memory of the process; `left_children` says that the task left processes behind.
    """

    result: bytes | None
    held_bytes: int
    left_children: bool = False


@dataclass(frozen=True)
class RankRaised:
    """Rank to agent: the function raised. `frames` is where, innermost first."""

    message: str
    traceback: str
    error: str = ""
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True)
class RankStopped:
    """Rank to agent: the function has stopped, in its own words, having written what it needs to go on."""

    message: str


@dataclass(frozen=True)
class Joining:
    """Rank to agent: its MPI library joins the world that the rank was started in; or, `joined`, it has."""

    joined: bool


@dataclass(frozen=True)
class Shared:
    """From rank 0 to its agent, and from agents to the other ranks: what rank 0 tells its peers."""

    value: str
