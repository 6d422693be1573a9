"""Which cores of this host the sessions of one user hold, so that two of them do not crowd the same ones.

A small file under a directory that only the user can enter, locked while it is read and written. Who has died holds
nothing: an entry counts while its process, told by its id and start, is there.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil

DIRECTORY_VARIABLE = "DEEPRC_LEASES"
"""Another directory for the file than the user's own; empty for sessions that take no notice of each other."""


class CoreLease:
    """The cores that this session holds, until `release`.

    Args:
        wanted: how many; None for all that are free, at least one.
    """

    def __init__(self, wanted: int | None) -> None:
        self._key = f"{os.getpid()}-{id(self):x}"
        self.others: list[int] = []
        offered = sorted(os.sched_getaffinity(0))
        with _ledger() as entries:
            held = {core for entry in entries.values() for core in entry["cores"]}
            self.others = sorted({entry["pid"] for entry in entries.values()})
            free = [core for core in offered if core not in held]
            self.count = wanted or max(len(free), 1)
            # More than there are: ranks share cores, by the user's wish, and none is held.
            crowded = [core for core in offered if core in held]
            self.cores = tuple([*free, *crowded][: self.count]) if self.count <= len(offered) else ()
            entries[self._key] = {"pid": os.getpid(), "started": _started(os.getpid()), "cores": self.cores}
        self.left_out = [core for core in offered if core in held and core not in self.cores]

    def share(self, number: int, cores: int) -> tuple[int, ...]:
        """The cores of the `number`-th of the nodes, of `cores` each, that this host stands for."""
        return self.cores[number * cores :][:cores]

    def remarks(self) -> list[str]:
        """What the user should know of cores that others hold."""
        if not self.left_out:
            return []
        pids = ", ".join("this process" if pid == os.getpid() else f"process {pid}" for pid in self.others)
        return [
            f"cores {self.left_out} are left to other sessions of yours ({pids}), until they are closed; "
            "Session(cores=N) takes as many as you say"
        ]

    def release(self) -> None:
        """Give the cores back; harmless if that has been done."""
        with _ledger() as entries:
            entries.pop(self._key, None)


def holders() -> dict[int, tuple[int, ...]]:
    """The cores that each process of this user holds here; none where ranks share cores by the user's wish."""
    held: dict[int, tuple[int, ...]] = {}
    with _ledger() as entries:
        for entry in entries.values():
            held[entry["pid"]] = tuple(sorted({*held.get(entry["pid"], ()), *entry["cores"]}))
    return held


@contextmanager
def _ledger() -> Iterator[dict[str, dict[str, Any]]]:
    """The entries of processes that live, written back at the end."""
    directory = _directory()
    if directory is None:
        yield {}
        return
    with (directory / "cores.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        entries = {key: entry for key, entry in _read(file).items() if _started(entry["pid"]) == entry["started"]}
        yield entries
        file.seek(0)
        file.truncate()
        json.dump(entries, file)


def _read(file: IO[str]) -> dict[str, dict[str, Any]]:
    file.seek(0)
    try:
        entries: dict[str, dict[str, Any]] = json.load(file)
    except ValueError:
        # New, or cut short by a crash: whoever holds cores then is not known, which only crowds them.
        return {}
    return entries


def _directory() -> Path | None:
    told = os.environ.get(DIRECTORY_VARIABLE)
    if told == "":
        return None
    directory = Path(told) if told else Path(tempfile.gettempdir()) / f"deeprc-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    # Another user may have made it first, in a directory that all may write to.
    return directory if directory.stat().st_uid == os.getuid() and not directory.is_symlink() else None


def _started(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
