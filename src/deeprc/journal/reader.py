"""The readers' side: a run as progress, history and the report see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprc.errors import JournalError
from deeprc.journal.events import Event


@dataclass(frozen=True)
class RunRecord:
    """All that a run directory says: frozen descriptions and the events so far."""

    directory: Path
    events: list[Event]
    spec: dict[str, Any]
    environment: dict[str, Any]

    def of_kind(self, *kinds: str) -> Iterator[Event]:
        """Events of the given kinds, in the order they were written."""
        return (event for event in self.events if event["kind"] in kinds)

    def first(self, kind: str) -> Event | None:
        """The first event of a kind, or None."""
        return next(self.of_kind(kind), None)

    def artifact(self, event: Event) -> dict[str, Any]:
        """The content that an `artifact` event points to."""
        content: dict[str, Any] = json.loads((self.directory / event["path"]).read_text())
        return content


def read_run(directory: Path) -> RunRecord:
    """Read a run directory; a last line that a crash cut short is left out.

    Raises:
        JournalError: the directory holds no run, or its record is damaged: names the file and the line.
    """
    path = directory / "events.jsonl"
    if not path.is_file():
        raise JournalError(f"{directory} is not a run directory: it has no events.jsonl. `deeprc history` lists runs")
    return RunRecord(
        directory=directory,
        events=list(_complete_events(path)),
        spec=_json_or_empty(directory / "spec.json"),
        environment=_json_or_empty(directory / "environment.json"),
    )


class EventTail:
    """The events of a run that goes on, also before it has begun: each call of `read` gives those that are new."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "events.jsonl"
        self._offset = 0

    def read(self) -> list[Event]:
        """Events whose lines have been written whole since the last call."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def _complete_events(path: Path) -> Iterator[Event]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\n"):
                event = _parsed(line, f"{path}:{number}")
                if "kind" not in event or "time" not in event:
                    raise JournalError(f"{path}:{number}: the record of this run is damaged: no kind or no time")
                yield event


def _json_or_empty(path: Path) -> dict[str, Any]:
    return _parsed(path.read_bytes(), str(path)) if path.is_file() else {}


def _parsed(text: bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise JournalError(f"{where}: the record of this run is damaged: {error}") from error
    if not isinstance(content, dict):
        raise JournalError(
            f"{where}: the record of this run is damaged: {type(content).__name__} in place of an object"
        )
    return content


def list_runs(root: Path) -> list[Path]:
    """Run directories under `root`, oldest first."""
    if not root.is_dir():
        return []
    found = (path.parent for path in root.glob("*/events.jsonl"))
    # One whose name begins with a dot is being removed.
    return sorted((run for run in found if run.name[0] != "."), key=lambda run: run.name)
