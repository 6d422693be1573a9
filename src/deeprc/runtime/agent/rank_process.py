"""The agent's handle of one rank process."""

from __future__ import annotations

import os
import pickle
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeprc.runtime.agent.plain_world import PlainWorld
from deeprc.runtime.agent.pmi_server import PmiServer
from deeprc.runtime.link.channel import Channel
from deeprc.runtime.link.messages import Profile, RankReturned, Shared, StopSoon
from deeprc.runtime.link.rank_page import PageReader
from deeprc.runtime.link.told import Told
from deeprc.runtime.process.family import descendants
from deeprc.runtime.process.segments import segments_open_in

_TAIL_BYTES = 4096
_TAIL_LINES = 20
_MEMORY_GROWTH_BYTES = 1 << 30


@dataclass
class RankProcess:
    """A rank as its agent sees it. `pid` is None until its zygote has forked it."""

    identifier: int
    profile: Profile
    channel: Channel
    log: Path
    world: PmiServer | PlainWorld | None = None
    pid: int | None = None
    exit_code: int | None = None
    retired: bool = False
    # What became of the launcher that started it, or was to.
    forsaken: str | None = None
    # Whether its MPI library is joining its world: no rank of that has begun its task then.
    joining: bool = False
    # Why the rank serves no further task, once something has spoilt it.
    unfit: str | None = None
    log_offset: int = 0
    told: Told = field(default_factory=Told)
    page: PageReader = field(default_factory=PageReader)
    children: list[int] = field(default_factory=list)
    held_at_first: int | None = None
    held_bytes: int = 0
    peak_bytes: int = 0

    def begin_task(self) -> None:
        """Remember where the output of the next task begins, and forget what the last one held."""
        self.held_bytes = self.peak_bytes = 0
        self.joining = False
        self.children = []
        try:
            self.log_offset = self.log.stat().st_size
        except FileNotFoundError:
            self.log_offset = 0

    def tell(self, message: tuple[Any, ...] | Shared | StopSoon) -> None:
        """Send the rank an assignment, as a plain tuple, or what it is to know meanwhile."""
        self.channel.send(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def returned(self, message: RankReturned) -> None:
        """Note what it held when its function returned, and whether that spoils it for others."""
        self.peak_bytes = max(self.peak_bytes, message.held_bytes)
        self.held_at_first = self.held_at_first or message.held_bytes
        if message.left_children:
            self.unfit = "its task left processes behind"
        elif message.held_bytes > self.held_at_first + _MEMORY_GROWTH_BYTES:
            self.unfit = "its memory had grown by more than 1 GiB"

    def last_output(self) -> str:
        """The last lines this rank wrote since `begin_task`."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self.log_offset, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-_TAIL_LINES:])

    def kill(self) -> None:
        """End the rank and all that it started; harmless if they are gone."""
        self.retired = True
        if self.pid is None:
            return
        # Of a world of ours they are found by its name.
        segments = segments_open_in(self.pid) if isinstance(self.world, PlainWorld) else []
        # Those that left its group are still its descendants.
        children = descendants(self.pid) if self.exit_code is None else []
        try:
            # Its group outlives it, as long as it has left children.
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # Between fork and setsid the child has no group of its own yet.
            if self.exit_code is None:
                kill_process(self.pid)
        for child in children:
            kill_process(child)
        for segment in segments:
            segment.unlink(missing_ok=True)


def kill_process(pid: int) -> None:
    """SIGKILL one process, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
