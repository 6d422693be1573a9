"""Files of a scan: which they are, and which rows of which file a rank reads."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import polars as pl

from deeprc.communicator import Communicator
from deeprc.errors import DataError
from deeprc.table.exchange.exchange import together

Source = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Share:
    """Rows of a table that one rank reads: from `offset` in the first of `files`, `length` in all.

    `before` is the number of rows in the table before the first of these files, `heights` how many each has.
    """

    files: tuple[str, ...]
    before: int
    offset: int
    length: int
    heights: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """Rows of a file that lie next to each other."""

    file: str
    start: int
    rows: int


def share_of_runs(runs: Sequence[Run], comm: Communicator) -> list[Run]:
    """This rank's even share of their rows, in order."""
    total = sum(run.rows for run in runs)
    start, end = total * comm.rank // comm.size, total * (comm.rank + 1) // comm.size
    mine, before = [], 0
    for run in runs:
        first, last = max(start - before, 0), min(end - before, run.rows)
        if first < last:
            mine.append(Run(run.file, run.start + first, last - first))
        before += run.rows
    return mine


def expand(source: Source, suffixes: Sequence[str]) -> tuple[str, ...]:
    """The files that a path, a folder, a pattern or a list of these means, in the order of their names.

    Raises:
        DataError: a file does not exist, or a folder or pattern holds none.
    """
    if not isinstance(source, str | Path):
        if not source:
            raise DataError("an empty list of files was given; name at least one")
        return tuple(path for item in source for path in expand(item, suffixes))
    text = str(source)
    if "://" in text:
        return (text,)
    path = Path(text).expanduser()
    if path.is_file():
        return (str(path),)
    if path.is_dir():
        found = sorted(
            str(file)
            for file in path.rglob("*")
            if file.name.lower().endswith(tuple(suffixes))
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        return _at_least_one(found, f"folder {text!r} holds no file that ends in {', '.join(suffixes)}")
    if glob.has_magic(text):
        found = sorted(file for file in glob.iglob(str(path), recursive=True) if Path(file).is_file())  # noqa: PTH207
        return _at_least_one(found, f"no file matches {text!r}")
    raise DataError(f"no such file: {text!r} (from {Path.cwd()}). Check the path; a pattern or a folder will do too")


def _at_least_one(found: list[str], refusal: str) -> tuple[str, ...]:
    if not found:
        raise DataError(f"{refusal}. Check the path")
    return tuple(found)


class Opener:
    """Paths that Polars can open, for paths that users give; an unpacked archive lives as long as this does.

    It is unpacked into a file without a name, which no crash leaves behind. Not into a Python object: Polars
    lets go of its input on threads of its own, which would then wait for the interpreter lock.
    """

    def __init__(self) -> None:
        self._unpacked: dict[str, tuple[IO[bytes], str]] = {}

    def __call__(self, path: str) -> str:
        """The path, or for a zip archive that of its one unpacked table.

        Raises:
            DataError: the archive is broken, or does not hold exactly one file.
        """
        if not path.lower().endswith(".zip"):
            return path
        if path not in self._unpacked:
            self._unpacked[path] = _unpack(path)
        return self._unpacked[path][1]


def _unpack(path: str) -> tuple[IO[bytes], str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
            if len(names) != 1:
                raise DataError(f"{path!r} holds {len(names)} files: {names[:5]}. Unpack it, and name the one to read")
            file, name = _nameless_file()
            with archive.open(names[0]) as packed:
                shutil.copyfileobj(packed, file, 1 << 20)
            file.flush()
            return file, name
    except zipfile.BadZipFile as error:
        raise DataError(f"{path!r} is not a zip archive: {error}") from error


def _nameless_file() -> tuple[IO[bytes], str]:
    """An open file that goes when it is closed, and a path to it that this process can open again."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("deeprc-unpacked")
        return os.fdopen(descriptor, "w+b"), f"/proc/self/fd/{descriptor}"
    file = tempfile.NamedTemporaryFile(prefix="deeprc-unpacked-")  # noqa: SIM115 (its user closes it)
    return cast(IO[bytes], file), file.name


def share_of(files: Sequence[str], count_rows: Callable[[str], int], limit: int | None, comm: Communicator) -> Share:
    """This rank's even share of the rows of all files, in order. Each file is counted by one rank. Collective.

    Args:
        files: in the order of the table's rows.
        count_rows: how many rows a file has.
        limit: the table ends after so many rows.
    """
    _, everyone = together(
        comm,
        "counting rows",
        lambda: {index: count_rows(files[index]) for index in range(comm.rank, len(files), comm.size)},
        lambda counts: counts,
    )
    counts = {index: count for part in everyone for index, count in part.items()}
    starts = [sum(counts[other] for other in range(index)) for index in range(len(files) + 1)]
    total = starts[-1] if limit is None else min(limit, starts[-1])
    start, end = total * comm.rank // comm.size, total * (comm.rank + 1) // comm.size
    mine = [index for index in range(len(files)) if starts[index] < end and starts[index + 1] > start]
    if not mine:
        return Share(tuple(files[:1]), 0, 0, 0, (counts[0],))
    first = mine[0]
    names, heights = tuple(files[index] for index in mine), tuple(counts[index] for index in mine)
    return Share(names, starts[first], start - starts[first], end - start, heights)


def rows_in(frame: pl.LazyFrame) -> int:
    """How many rows a scan has, without keeping any."""
    return int(frame.select(pl.len()).collect(engine="streaming").item())
