"""What a run of the tests leaves on its host: processes, shared memory, temporary files; not what others beside it do.

Processes are known by a mark in their environment, which they inherit; folders in shared memory by the agent in their
name, looked at while it lives; temporary files by the folder that this run has for them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import psutil

_MARK = "DEEPRC_TEST_RUN"
_SHARED_MEMORY = Path("/dev/shm")
_LOOK_S = 0.1


# Ends what tests share until the last of them has run.
at_end = ExitStack()


class Watch:
    """From now on temporary files of this process and its descendants lie in a folder, in which nothing may stay."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(8)
        # Where pytest keeps what it shows after a failure.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
        self._folder = Path(tempfile.mkdtemp(prefix="deeprc-run-"))
        os.environ |= {_MARK: self._mark, "TMPDIR": str(self._folder)}
        tempfile.tempdir = None
        self._others = {entry.name for entry in _SHARED_MEMORY.iterdir()}
        self._ours: set[str] = set()
        self._is_over = Event()
        self._looking = Thread(target=self._look, daemon=True)
        self._looking.start()

    def end(self, patience_s: float = 30.0) -> tuple[list[str], list[str]]:
        """What deeprc has left behind, and what others have that it has started; both in words.

        What is about to go is given so much time.
        """
        _wait_until(lambda: not self._deeprc_left(), patience_s)
        self._is_over.set()
        self._looking.join()
        left = self._deeprc_left()
        files = [str(path) for path in self._folder.iterdir() if f"-{os.getpid()}-" not in path.name]
        others = [*map(_in_words, self._processes()), *files]
        shutil.rmtree(self._folder, ignore_errors=True)
        return left, [each for each in others if each not in left]

    def _deeprc_left(self) -> list[str]:
        processes = [_in_words(process) for process in self._processes()]
        folders = [str(_SHARED_MEMORY / name) for name in sorted(self._ours) if (_SHARED_MEMORY / name).exists()]
        # Those of this process go when it ends, which is still to come.
        temporary = set(self._folder.glob("deeprc-*")) - set(self._folder.glob(f"deeprc-*-{os.getpid()}-*"))
        files = sorted(map(str, temporary))
        return [*(each for each in processes if "deeprc" in each), *folders, *files]

    def _look(self) -> None:
        while not self._is_over.wait(_LOOK_S):
            for name in {entry.name for entry in os.scandir(_SHARED_MEMORY)} - self._others - self._ours:
                owner = name.removeprefix("deeprc-mpi-").partition("-")[0]
                is_ours = name.startswith("deeprc-") and owner.isdigit() and self._is_marked(int(owner))
                (self._ours if is_ours else self._others).add(name)

    def _processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._is_marked(process.pid)]

    def _is_marked(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return pid != os.getpid() and f"{_MARK}={self._mark}".encode() in words


def _in_words(process: psutil.Process) -> str:
    try:
        return f"process {process.pid}: {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return f"process {process.pid}, which has just ended"


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
