"""What went into a run: the content hash of each input file, taken beside the run, not before it."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_LONGEST_PATH = 4096


def fingerprint_inputs(task: str, files: Iterable[Path], seen: set[Path], record: Callable[..., None]) -> None:
    """Record an `input` event for each of a task's input files that is not in `seen` yet."""
    files = [path for path in files if path not in seen]
    seen.update(files)
    if files:
        threading.Thread(target=_record_all, args=(task, files, record), daemon=True).start()


def _record_all(task: str, files: list[Path], record: Callable[..., None]) -> None:
    for path in files:
        try:
            digest, size = fingerprint(path), path.stat().st_size
        except OSError as error:
            record("warning", task=task, message=f"input {path} could not be read for its fingerprint: {error}")
            continue
        record("input", task=task, path=str(path), bytes=size, blake2b=digest)


def fingerprint(path: Path) -> str:
    """The hash of a file's content, as an `input` event has it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()[:32]


def files_in(value: Any) -> Iterator[Path]:
    """Existing files among strings and paths, at any depth, and those that match a pattern with `*`, `?` or `[`."""
    yield from (path for named in _paths_in(value) for path in _files_at(named))


def files_below(value: Any) -> Iterator[Path]:
    """Existing files in the folders among strings and paths, at any depth of both."""
    yield from (path for named in _paths_in(value) for path in _files_at(f"{glob.escape(named)}/**/*"))


def _paths_in(value: Any) -> Iterator[str]:
    """What may name a file, or files."""
    if isinstance(value, Path) or (isinstance(value, str) and 0 < len(value) < _LONGEST_PATH and "\n" not in value):
        yield str(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _paths_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _paths_in(item)


def _files_at(named: str) -> Iterator[Path]:
    # Not a bare word: "*" alone means all of something, seldom of this folder.
    is_pattern = glob.has_magic(named) and ("/" in named or "." in named)
    with contextlib.suppress(OSError, ValueError):
        path = Path(named).absolute()
        found = {path, *(Path(path.anchor).glob(str(path.relative_to(path.anchor))) if is_pattern else ())}
        yield from (each for each in found if each.is_file())
