"""One part of a dataset: rows of an Arrow IPC file, written whole or not at all."""

from __future__ import annotations

import os
import platform
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from deeprc.bridge.root import dataset_root
from deeprc.errors import DataError


@dataclass(frozen=True)
class Part:
    """Rows [first_row, first_row + num_rows) of an Arrow IPC file, uncompressed so that it can be mapped.

    `num_bytes` is the size of the file, `rank` and `node` say who wrote it.
    """

    path: str
    num_rows: int
    num_bytes: int
    rank: int
    node: str
    first_row: int = 0


def new_path(name: str, suffix: str, directory: Path | None = None) -> Path:
    """A path that no other task, rank or process uses; `name` only makes it easy to recognise."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:80].lstrip(".") or "dataset"
    return (directory or dataset_root()) / f"{stem}-{uuid.uuid4().hex}{suffix}"


def write_part(frame: pl.DataFrame, name: str, rank: int = 0) -> Part:
    """Write a frame as one file with one record batch, so that every column is one piece of memory.

    Raises:
        DataError: a column holds Python objects, or the file could not be written; nothing is left behind.
    """
    objects = [column for column, dtype in frame.schema.items() if dtype == pl.Object]
    if objects:
        raise DataError(f"columns {objects} hold Python objects, which Arrow files cannot; cast or drop them first")
    path = new_path(name, ".arrow")
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            frame.write_ipc(file, compression="uncompressed", record_batch_size=max(1, frame.height))
        size = temporary.stat().st_size
        temporary.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"could not write {frame.height} rows of dataset {name!r} to {path}: {error}. Free space there, or "
            "choose another folder with set_dataset_root"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return Part(str(path), frame.height, size, rank, platform.node())


def check_part(part: Part) -> None:
    """Refuse a file that is not as it was written, before it is mapped.

    Raises:
        DataError: it is missing, or its size has changed.
    """
    written = f"rank {part.rank} on {part.node} wrote it with {part.num_bytes} bytes"
    try:
        size = Path(part.path).stat().st_size
    except OSError as error:
        raise DataError(
            f"cannot read {part.path}, a part of a dataset: {error.strerror}; {written}. Its run directory may have "
            "been removed, or is on another node: run the task that makes the dataset again"
        ) from error
    if size != part.num_bytes:
        raise DataError(
            f"{part.path}, a part of a dataset, has {size} bytes; {written}. It was truncated or changed: delete it "
            "and run the task that makes the dataset again"
        )


def part_schema(part: Part) -> pl.Schema:
    """Columns and Polars types, from the head of the file.

    Raises:
        DataError: it is missing, truncated or damaged.
    """
    check_part(part)
    try:
        return pl.Schema(pl.read_ipc_schema(part.path))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise damaged(part, error) from error


def damaged(part: Part, error: Exception) -> DataError:
    return DataError(
        f"{part.path}, a part of a dataset, is damaged: {error}. Delete it and run the task that makes the "
        "dataset again"
    )


def share(parts: tuple[Part, ...], rank: int, size: int) -> tuple[Part, ...]:
    """The rows that `rank` of `size` reads: whole parts where there is one for each rank, else an even split.

    The split differs by at most one row between ranks, keeps the order, and gives every row to one rank.
    """
    if len(parts) == size:
        return (parts[rank],)
    rows = sum(part.num_rows for part in parts)
    start, end = rows * rank // size, rows * (rank + 1) // size
    taken, first = [], 0
    for part in parts:
        low, high = max(start, first), min(end, first + part.num_rows)
        if low < high:
            taken.append(
                Part(part.path, high - low, part.num_bytes, part.rank, part.node, part.first_row + low - first)
            )
        first += part.num_rows
    none = parts[0]
    return tuple(taken) or (Part(none.path, 0, none.num_bytes, none.rank, none.node, none.first_row),)
