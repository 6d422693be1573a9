"""What went into a run: the content hash of each input file, taken beside the run, not before it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

_LONGEST_PATH = 4096


def fingerprint_inputs(task: str, arguments: Any, seen: set[Path], record: Callable[..., None]) -> None:
    """Record an `input` event for each file named in a task's arguments that is not in `seen` yet."""
    files = [path for path in files_in(arguments) if path not in seen]
    seen.update(files)
    if files:
        threading.Thread(target=_record_all, args=(task, files, record), daemon=True).start()


def _record_all(task: str, files: list[Path], record: Callable[..., None]) -> None:
    for path in files:
        try:
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "blake2b").hexdigest()[:32]
            size = path.stat().st_size
        except OSError as error:
            record("warning", task=task, message=f"input {path} could not be read for its fingerprint: {error}")
            continue
        record("input", task=task, path=str(path), bytes=size, blake2b=digest)


def files_in(value: Any) -> Iterator[Path]:
    """Existing files among strings and paths, at any depth."""
    if isinstance(value, Path) or (isinstance(value, str) and 0 < len(value) < _LONGEST_PATH and "\n" not in value):
        path = Path(value)
        try:
            if path.is_file():
                yield path.absolute()
        except (OSError, ValueError):
            return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from files_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from files_in(item)
