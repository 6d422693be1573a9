"""What a rank shows its agent while it is blocked: how far it has come, and where it is in its code when asked.

Both lie in a nameless file of the rank's. Its first page is counters; what follows is written by faulthandler's
signal handler, which needs neither the GIL nor a thread of its own, so that it answers from within any C call.
"""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import os
import signal
import struct
from pathlib import Path
from typing import NamedTuple

from deeprc.communicator.entered import count_in

# Not one that libraries, batch systems or Lightning use.
ASK_SIGNAL = signal.SIGRTMIN + 25
_NAME = "deeprc-rank"
_ENTERED, _ENDED = 0, 1
_COUNTERS = struct.Struct("QQ")
_page = memoryview(bytearray(_COUNTERS.size)).cast("Q")


class Progress(NamedTuple):
    """`entered`: collectives of its communicator that a rank has entered; `ended`: its function has returned."""

    entered: int
    ended: bool


def offer_page() -> None:
    """In a rank: make the page, and answer from now on when asked."""
    global _page
    file = os.memfd_create(_NAME)
    os.truncate(file, mmap.PAGESIZE)
    _page = memoryview(mmap.mmap(file, mmap.PAGESIZE)).cast("Q")
    count_in(_page)
    os.lseek(file, mmap.PAGESIZE, os.SEEK_SET)
    faulthandler.register(ASK_SIGNAL, file=file, all_threads=False)


def function_ended() -> None:
    """In a rank: its task's function has returned; only the end of the communicator is left."""
    _page[_ENDED] = 1


def clear_page() -> None:
    """In a rank: between tasks."""
    _page[_ENTERED] = _page[_ENDED] = 0


class PageReader:
    """An agent's view of the page of one rank; `pid` is None until it has been forked."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._is_closed = False
        self._read_from = 0

    def progress(self, pid: int | None) -> Progress:
        """What the rank has counted; nothing, if it has no page (yet)."""
        counters = os.pread(self._file or 0, _COUNTERS.size, 0) if self._found(pid) else b""
        if len(counters) < _COUNTERS.size:
            return Progress(0, ended=False)
        entered, ended = _COUNTERS.unpack(counters)
        return Progress(entered, ended=bool(ended))

    def ask(self, pid: int | None) -> bool:
        """Ask where the rank is; False if it cannot answer."""
        if pid is None or not self._found(pid) or not _catches(pid):
            return False
        self._read_from = os.fstat(self._file or 0).st_size
        try:
            os.kill(pid, ASK_SIGNAL)
        except ProcessLookupError:
            return False
        return True

    def answer(self) -> str:
        """What the rank has written since it was asked: faulthandler's text, perhaps only a part of it yet."""
        if self._file is None:
            return ""
        size = os.fstat(self._file).st_size - self._read_from
        return os.pread(self._file, size, self._read_from).decode(errors="replace")

    def close(self) -> None:
        """Forget the page; the rank's number may soon be another process's."""
        self._is_closed = True
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _found(self, pid: int | None) -> bool:
        if self._file is None and pid is not None and not self._is_closed:
            with contextlib.suppress(OSError):
                for entry in Path(f"/proc/{pid}/fd").iterdir():
                    if f"/memfd:{_NAME}" in str(entry.readlink()):
                        self._file = os.open(entry, os.O_RDONLY | os.O_CLOEXEC)
                        break
        return self._file is not None


def _catches(pid: int) -> bool:
    """Whether a process handles the signal: it would end one that does not."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return False
    _, _, rest = status.partition(b"SigCgt:")
    return bool(rest and int(rest.split(None, 1)[0], 16) >> (ASK_SIGNAL - 1) & 1)


def state_of(pid: int) -> str:
    """What the kernel says of a process, in words, for one that does not answer."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "is gone"
    return {
        "T": "is stopped",
        "t": "is stopped by a debugger",
        "D": "waits in the kernel, for a device or a file system",
        "Z": "has ended",
    }.get(state, "does not say where it is")
