"""A table as files, one for each rank: the whole table, or nothing.

The ranks write into a hidden folder beside the target, which takes the target's name when all have succeeded.
If one fails, or the folder can't be renamed, it goes; what a killed run leaves of it, the next one removes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from deeprc.communicator import Communicator
from deeprc.errors import DataError
from deeprc.table.exchange.exchange import together
from deeprc.table.schema import as_data_error

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_OURS = re.compile(r"part-\d{5}\.\w+")


Part = tuple[str, pl.LazyFrame]  # A folder below the table's, "" for that itself, and its rows


@dataclass(frozen=True)
class Format:
    """A file format: the end of its names, and Polars' method that writes a query's rows."""

    suffix: str
    write: Callable[..., Any]


CSV = Format("csv", pl.LazyFrame.sink_csv)
IPC = Format("arrow", pl.LazyFrame.sink_ipc)
NDJSON = Format("ndjson", pl.LazyFrame.sink_ndjson)
PARQUET = Format("parquet", pl.LazyFrame.sink_parquet)


@dataclass(frozen=True)
class Target:
    """Where a table goes, how, and whether a table that is there gives way."""

    folder: Path
    form: Format
    partition_by: tuple[str, ...]
    overwrite: bool
    options: Mapping[str, Any]

    @property
    def unfinished(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.unfinished")


def write_table(target: Target, compute: Callable[[], Sequence[Part]], comm: Communicator) -> list[Path]:
    """Compute and write this rank's rows; return the paths of all ranks' files, in order. Collective.

    Args:
        compute: gives the rows for each folder, as `in_folders` does.

    Raises:
        DataError: the folder holds what must not be replaced (nothing was computed then), or a rank failed.
    """
    doing = f"writing {target.folder}"

    def on_first_rank(work: Callable[[Target], None]) -> None:
        with as_data_error(doing):
            if comm.rank == 0:
                work(target)

    together(comm, doing, lambda: on_first_rank(lambda where: _check(where, comm.size)), lambda _: None)
    parts = compute()
    try:
        together(comm, doing, lambda: on_first_rank(_begin), lambda _: None)
        _, files = together(comm, doing, lambda: _write(parts, target, comm.rank), lambda written: written)
        together(comm, doing, lambda: on_first_rank(_finish), lambda _: None)
    except Exception:
        if comm.rank == 0:
            shutil.rmtree(target.unfinished, ignore_errors=True)
        raise
    return [target.folder / name for names in files for name in names]


def _check(target: Target, size: int) -> None:
    """A folder is replaced if it holds files of the same names alone, as a retry finds it; or where asked for."""
    if not target.folder.exists():
        return
    names = {f"part-{rank:05d}.{target.form.suffix}" for rank in range(size)}
    levels = list(target.partition_by)

    def gives_way(file: Path) -> bool:
        if target.overwrite:
            return _OURS.fullmatch(file.name) is not None
        return file.name in names and [part.partition("=")[0] for part in file.parts[:-1]] == levels

    found = sorted(path.relative_to(target.folder) for path in target.folder.rglob("*") if not path.is_dir())
    others = [file for file in found if not gives_way(file)]
    if others:
        held = ", ".join(map(str, others[:3]))
        raise DataError(
            f"{target.folder} holds {held}, which this table would not replace file by file: remove it, choose another "
            "folder, or, where all in it was written by these methods, pass overwrite=True"
        )


def _begin(target: Target) -> None:
    if target.unfinished.exists():
        shutil.rmtree(target.unfinished)
    target.unfinished.mkdir(parents=True)


def _write(parts: Sequence[Part], target: Target, rank: int) -> list[str]:
    name = f"part-{rank:05d}.{target.form.suffix}"
    written = []
    with as_data_error(f"writing {target.folder / name}"):
        for folder, rows in parts:
            file = target.unfinished / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            target.form.write(rows, file, **target.options)
            written.append(str(Path(folder) / name))
    return written


def in_folders(part: pl.DataFrame, names: Sequence[str]) -> list[tuple[str, pl.DataFrame]]:
    """The rows for each folder `name=value/...`, without these columns, as Hive and Polars lay them out."""
    if not names:
        return [("", part)]
    texts = [f"__folder{index}__" for index in range(len(names))]
    marked = part.with_columns(
        pl.col(name).cast(pl.String).alias(text) for name, text in zip(names, texts, strict=True)
    )
    folders = []
    for values, rows in marked.partition_by(texts, as_dict=True, include_key=False).items():
        levels = [
            f"{name}={_NO_VALUE if value is None else quote(str(value), safe='')}"
            for name, value in zip(names, values, strict=True)
        ]
        folders.append(("/".join(levels), rows.drop(names)))
    return sorted(folders, key=lambda item: item[0])


def _finish(target: Target) -> None:
    if not target.folder.exists():
        target.unfinished.rename(target.folder)
        return
    replaced = target.folder.with_name(f".{target.folder.name}.replaced")
    target.folder.rename(replaced)
    try:
        target.unfinished.rename(target.folder)
    except OSError:
        replaced.rename(target.folder)
        raise
    shutil.rmtree(replaced)
