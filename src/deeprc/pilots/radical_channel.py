"""Where RADICAL-Pilot runs: in a child process of ours, or, with a session that the user has, in a thread.

Both are asked the same: `events`, `ended`, `close`. None of them waits longer than it is told to.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from deeprc.pilots.leftovers import end_processes_in
from deeprc.pilots.radical_session import RadicalRun, Request
from deeprc.pilots.radical_translation import Event
from deeprc.runtime.process.exits import how_it_ended


class Channel(Protocol):
    """RADICAL-Pilot, as far as a pilot needs it."""

    def events(self, wait_s: float) -> list[Event]:
        """What it has said; waits up to `wait_s` if there is nothing yet."""
        ...

    def ended(self) -> str | None:
        """How it ended, if it has."""
        ...

    def close(self, limit_s: float) -> bool:
        """End it; False if it had not ended by itself within `limit_s`."""
        ...


class ChildProcess:
    """RADICAL-Pilot in a process of its own, in `directory`: what it starts has that, or one below, as its own."""

    def __init__(self, request: Request, directory: Path, log: Path) -> None:
        self._directory = directory
        read, write = os.pipe()
        os.set_blocking(read, False)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deeprc.pilots.radical_session", str(write)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=directory,
                env=_environment(directory),
                pass_fds=[write],
                # A Ctrl-C is for the session, which then ends this in good order.
                start_new_session=True,
            )
        os.close(write)
        self._events: int | None = read
        self._unfinished = b""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
        self._process.stdin.flush()

    def events(self, wait_s: float) -> list[Event]:
        if self._events is None:
            time.sleep(wait_s)
            return []
        if not select.select([self._events], [], [], wait_s)[0]:
            return []
        told = os.read(self._events, 1 << 16)
        if not told:
            os.close(self._events)
            self._events = None
        *lines, self._unfinished = (self._unfinished + told).split(b"\n")
        return [json.loads(line) for line in lines]

    def ended(self) -> str | None:
        code = self._process.poll()
        return None if code is None else f"RADICAL-Pilot's process {how_it_ended(code)}"

    def close(self, limit_s: float) -> bool:
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(b"close\n")
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_s)
        in_time = self._process.poll() == 0
        end_processes_in(self._directory)
        self._process.wait(limit_s)
        if self._events is not None:
            os.close(self._events)
            self._events = None
        return in_time


class Thread:
    """RADICAL-Pilot with objects that the user has handed in. What hangs in it can only be left behind."""

    def __init__(self, request: Request, session: Any, task_manager: Any) -> None:
        self._events: queue.Queue[Event] = queue.Queue()
        self._run = RadicalRun(self._events.put, session, task_manager)
        self._thread = threading.Thread(target=self._start, args=[request], name="radical-pilot", daemon=True)
        self._thread.start()

    def _start(self, request: Request) -> None:
        try:
            self._run.start(request)
        except Exception as error:
            self._events.put({"error": f"{type(error).__name__}: {error}"})

    def events(self, wait_s: float) -> list[Event]:
        told: list[Event] = []
        try:
            told.append(self._events.get(timeout=wait_s) if wait_s else self._events.get_nowait())
            while True:
                told.append(self._events.get_nowait())
        except queue.Empty:
            return told

    def ended(self) -> str | None:
        return None

    def close(self, limit_s: float) -> bool:
        self._thread.join(limit_s)
        closing = threading.Thread(target=self._run.close, name="radical-pilot-close", daemon=True)
        closing.start()
        closing.join(limit_s)
        return not closing.is_alive() and not self._thread.is_alive()


def _environment(directory: Path) -> dict[str, str]:
    """What keeps RADICAL-Pilot's files in `directory`, and lets it find its own programs.

    It looks for its programs on PATH, and tells its pilots by VIRTUAL_ENV where it is installed; both are there in a
    shell that has activated the environment, not in one that has called its Python by name.
    """
    temporary = directory / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        "RADICAL_BASE": str(directory),
        # RADICAL-Pilot believes this rather than the directory that it is in.
        "PWD": str(directory),
        "TMPDIR": str(temporary),
    }
    if sys.prefix != sys.base_prefix:
        environment["VIRTUAL_ENV"] = sys.prefix
    return environment
