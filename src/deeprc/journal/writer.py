"""The writer's side: one append-only file of events beside frozen descriptions of the run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from deeprc.journal.events import Event

_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


class JournalWriter:
    """Appends events to `<run directory>/events.jsonl`.

    Events are written by `flush`, whole lines in one write: the driver calls it at the end of each turn of its loop,
    and before it tells anyone of a result. A crash loses the events of one turn at most.
    """

    def __init__(self, run_directory: Path) -> None:
        self.directory = run_directory
        (run_directory / "artifacts").mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._descriptor = os.open(run_directory / "events.jsonl", flags, 0o600)
        self._artifacts = 0
        self._lines: list[str] = []
        self._unwritten = b""

    def append(self, kind: str, **fields: Any) -> Event:
        """Add one event; an artifact's content goes to a file of its own."""
        if kind == "artifact":
            fields["path"] = self._keep_artifact(fields.pop("content"))
        event: Event = {"time": time.time(), "kind": kind, **fields}
        self._lines.append(_encode(event))
        return event

    def flush(self) -> None:
        """Write the events that have been added; after an error, such as a full disk, the next call goes on."""
        if self._lines:
            self._unwritten += ("\n".join(self._lines) + "\n").encode()
            self._lines.clear()
        while self._unwritten:
            self._unwritten = self._unwritten[os.write(self._descriptor, self._unwritten) :]

    def _keep_artifact(self, content: Any) -> str:
        self._artifacts += 1
        relative = f"artifacts/{self._artifacts:04d}.json"
        write_json(self.directory / relative, content)
        return relative

    def close(self) -> None:
        self.flush()
        os.close(self._descriptor)


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
