"""The writer's side: one append-only file of events beside frozen descriptions of the run."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from deeprc.errors import JournalError
from deeprc.journal.events import Event

_FULL = (errno.ENOSPC, errno.EDQUOT)
_encoder = json.JSONEncoder(separators=(",", ":"), default=str, check_circular=False)
# The encoder's own `encode` makes this anew for each event, which takes longer than to encode it.
_make = getattr(json.encoder, "c_make_encoder", None)
_chunks = _make and _make(None, str, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True)


def _encode(event: Event) -> str:
    return "".join(_chunks(event, 0)) if _chunks else _encoder.encode(event)


class JournalWriter:
    """Appends events to `<run directory>/events.jsonl`.

    Events are written by `flush`, whole lines in one write: the driver calls it at the end of each turn of its loop,
    and before it tells anyone of a result. A crash loses the events of one turn at most.
    """

    def __init__(self, run_directory: Path) -> None:
        self.directory = run_directory
        (run_directory / "artifacts").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = run_directory / "events.jsonl"
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._artifacts = 0
        self._events: list[Event] = []
        self._unwritten = b""
        self._was_full = False

    def append(self, kind: str, **fields: Any) -> Event:
        """Add one event; an artifact's content goes to a file of its own. One that has no room becomes a warning."""
        if kind == "artifact":
            try:
                fields["path"] = self._keep_artifact(fields.pop("content"))
            except OSError as error:
                kind, fields = "warning", {**fields, "message": f"an artifact could not be kept: {error}"}
        event: Event = {"time": time.time(), "kind": kind, **fields}
        self._events.append(event)
        return event

    def flush(self) -> None:
        """Write the events that have been added; what a full disk does not take is kept for the next call."""
        if self._events:
            self._unwritten += "".join(f"{_encode(event)}\n" for event in self._events).encode()
            self._events.clear()
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._descriptor, self._unwritten) :]
        except OSError as error:
            if error.errno not in _FULL:
                raise
            if not self._was_full:
                # The journal is where warnings go, and it is what has no room.
                print(f"deeprc: {self._path}: {error.strerror}; events wait in memory", file=sys.stderr)
            self._was_full = True

    def _keep_artifact(self, content: Any) -> str:
        self._artifacts += 1
        relative = f"artifacts/{self._artifacts:04d}.json"
        write_json(self.directory / relative, content)
        return relative

    def close(self) -> None:
        """Write what waits.

        Raises:
            JournalError: the disk is full; the file ends with the last event that had room.
        """
        self.flush()
        if self._unwritten:
            self._drop_half_line()
        os.close(self._descriptor)
        if self._unwritten:
            lost = self._unwritten.count(b"\n")
            raise JournalError(f"{self._path}: no space left for its last {lost} events. Free space on that disk")

    def _drop_half_line(self) -> None:
        content = self._path.read_bytes()
        os.ftruncate(self._descriptor, content.rfind(b"\n") + 1)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(content, indent=1, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
