"""Results kept on disk under what they depend on, and found again by a later run.

A key is made of the function's code, the arguments, the content of files named in them, the number and kind of ranks,
and the keys of the tasks whose results it needs. One file for each result, `results/KEY.kept`: a line of JSON that
says what it is, then the packed result. It is written whole or not at all, and checked by its hash when it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future as Promise
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from deeprc.journal.fingerprints import files_below, files_in, fingerprint
from deeprc.journal.kept import KEPT_SUFFIX, kept_headers
from deeprc.runtime.driver.results import Reused
from deeprc.runtime.link.packing import unpacked
from deeprc.runtime.session.checkpoints import Checkpoints
from deeprc.runtime.session.code_digest import code_digest, digest_of
from deeprc.spec.imports import folders_read, without_written, written_files


@dataclass(frozen=True)
class Key:
    """What a task's result depends on; each part is a hash."""

    function: str
    arguments: str
    ranks: str
    inputs: dict[str, str]
    needs: dict[str, str]

    @property
    def digest(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Reuse:
    """Keeps the results of a session, and looks for them in an earlier run.

    Files are hashed and results written by one thread beside the run. `warn(task, message)` tells why a task of the
    earlier run is run again.
    """

    def __init__(self, run_directory: Path, earlier: Path | None, warn: Callable[[str, str], None]) -> None:
        self._directory = run_directory / "results"
        self._earlier = earlier
        self._warn = warn
        self._checkpoints = Checkpoints(run_directory, earlier)
        self._kept = {header["task"]: header for header in kept_headers(earlier)} if earlier else {}
        self._keys: dict[str, Promise[Key]] = {}
        self._file_digests: dict[Path, str] = {}
        self._run_again: set[str] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="deeprc-results")

    def look_up(
        self,
        task: str,
        function: Callable[..., Any],
        arguments: Any,
        needs: tuple[str, ...],
        ranks: tuple[int, str | None],
    ) -> Reused | None:
        """Note a task, and find its result in the earlier run; None if it has to run.

        `arguments` are the positional ones, those by keyword, and all that are known by name of the parameter.
        """
        code, values, shape = code_digest(function), digest_of(arguments), digest_of(ranks)
        args, kwargs, known = arguments
        named = [args, without_written(function, kwargs), without_written(function, known)]
        files = sorted({*files_in(named), *files_below(folders_read(function, known))})

        def make() -> Key:
            inputs = {str(path): self._file_digest(path) for path in files}
            return Key(code, values, shape, inputs, {need: self._key_of(need) for need in needs})

        self._keys[task] = self._thread.submit(make)
        found = self._find(task, needs, written_files(function, known)) if self._earlier else None
        if found is None:
            self._run_again.add(task)
            if self._checkpoints.has(task):
                self._take_over(task, needs)
        return found

    def keep(self, task: str, packed: bytes, seconds: float) -> None:
        """Write a task's result, beside the run."""
        # A result that comes in while the session closes comes too late.
        with contextlib.suppress(RuntimeError):
            self._thread.submit(self._write, task, packed, seconds)

    def note_checkpoint(self, task: str) -> None:
        """Write, beside the run, what a task depends on that has begun to write checkpoints."""
        with contextlib.suppress(RuntimeError):
            self._thread.submit(lambda: self._checkpoints.note(task, asdict(self._keys[task].result())))

    def close(self) -> None:
        """Return once every result is on disk."""
        self._thread.shutdown()

    def _find(self, task: str, needs: tuple[str, ...], written: list[Path]) -> Reused | None:
        assert self._earlier is not None
        header = self._kept.get(task)
        if header is None:
            return None
        reason = self._why_not(task, header["key"], needs)
        gone = [path for path in written if not path.exists()]
        if reason is None and gone:
            reason = f"{gone[0]}, which it wrote, is gone"
        if reason is None:
            try:
                return _read(self._earlier, header)
            except Exception as error:
                reason = f"its kept result cannot be used: {error}"
        self._warn(task, f"runs again: {reason}")
        return None

    def _why_not(self, task: str, key: Mapping[str, Any], needs: tuple[str, ...]) -> str | None:
        """Why what a task left in the earlier run, under a key, is no longer right; None if it is."""
        if again := [need for need in needs if need in self._run_again]:
            return f"{again[0]!r}, which it needs, runs again"
        return _difference(key, asdict(self._keys[task].result()))

    def _take_over(self, task: str, needs: tuple[str, ...]) -> None:
        """Have a task that runs again go on from its checkpoint in the earlier run, if that is still right."""
        key = self._checkpoints.key_of(task)
        reason = "what it depends on was not written down" if key is None else self._why_not(task, key, needs)
        try:
            self._checkpoints.take(task) if reason is None else self._checkpoints.put_aside(task)
        except OSError as error:
            reason = f"{error}"
        if reason is not None:
            self._warn(task, f"begins anew, without its checkpoint: {reason}")

    def _write(self, task: str, packed: bytes, seconds: float) -> None:
        key = self._keys[task].result()
        path = self._directory / f"{key.digest}{KEPT_SUFFIX}"
        temporary = path.with_suffix(".tmp")
        try:
            header = {
                "task": task,
                "key": asdict(key),
                "seconds": seconds,
                "blake2b": hashlib.blake2b(packed).hexdigest(),
                "file_bytes": Path(os.fsdecode(packed[1:])).stat().st_size if packed[:1] == b"f" else None,
            }
            temporary.write_bytes(json.dumps(header).encode() + b"\n" + packed)
            temporary.replace(path)
        except OSError as error:
            self._warn(task, f"its result could not be kept for a later run: {path}: {error.strerror}")
        finally:
            temporary.unlink(missing_ok=True)

    def _key_of(self, need: str) -> str:
        """The key of a task that another needs; of one submitted before keys were made, a key like no other."""
        return self._keys[need].result().digest if need in self._keys else uuid.uuid4().hex

    def _file_digest(self, path: Path) -> str:
        if path not in self._file_digests:
            try:
                self._file_digests[path] = fingerprint(path)
            except OSError as error:
                self._file_digests[path] = f"unreadable: {error.strerror}"
        return self._file_digests[path]


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """What has changed, in words; None if nothing has."""
    words = {
        "function": "its function's code has changed",
        "arguments": "its arguments have changed",
        "ranks": "the number or kind of its ranks has changed",
        "inputs": "its input files have changed",
        "needs": "what it needs has changed",
    }
    changed = next((part for part in words if old.get(part) != new[part]), None)
    if changed == "inputs":
        # Of files found by a pattern, or in a folder, there may be more now, or fewer.
        before, now = old.get("inputs", {}), new["inputs"]
        path = next(path for path in sorted({*before, *now}) if before.get(path) != now.get(path))
        how = "has changed" if path in before and path in now else "is new" if path in now else "is gone"
        return f"input {path} {how}"
    return words[changed] if changed else None


def _read(run: Path, header: Mapping[str, Any]) -> Reused:
    """The result behind a header.

    Raises:
        ValueError: it is damaged, or a file that it refers to is gone.
    """
    packed = Path(header["path"]).read_bytes().partition(b"\n")[2]
    if hashlib.blake2b(packed).hexdigest() != header["blake2b"]:
        raise ValueError(f"{header['path']} is damaged")
    if packed[:1] == b"f":
        path = Path(os.fsdecode(packed[1:]))
        if not path.exists() or path.stat().st_size != header["file_bytes"]:
            raise ValueError(f"{path} is missing or damaged")
    value = pickle.loads(unpacked(packed))
    for path, size in _files_of(value, run):
        if not path.exists() or (size is not None and path.stat().st_size != size):
            raise ValueError(f"{path}, to which it refers, is missing or damaged")
    return Reused(packed, value, run.name, float(header["seconds"]))


def _files_of(value: Any, run: Path) -> Iterator[tuple[Path, int | None]]:
    """Files of the run that a result refers to, with their size where it is known: parts of datasets, and paths."""
    if isinstance(value, str | Path):
        if str(value).startswith(f"{run}/"):
            yield Path(value), None
    elif isinstance(value, Mapping):
        yield from _files_of(list(value.values()), run)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _files_of(item, run)
    elif is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "num_bytes") and hasattr(value, "path"):
            yield Path(value.path), value.num_bytes
        else:
            yield from _files_of([getattr(value, field.name, None) for field in fields(value)], run)
