"""A table as files: one for each rank, each whole or not at all."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from deeprc.communicator import Communicator
from deeprc.errors import DataError
from deeprc.table.exchange import together


def prepare(folder: Path, comm: Communicator) -> None:
    """Refuse, before anything is computed, a folder that holds files of another table. Collective.

    Raises:
        DataError: names those files.
    """
    ours = {_file_name(rank) for rank in range(comm.size)}
    together(comm, f"looking into {folder}", lambda: _refuse_others(folder, ours), lambda _: None)


def write_part(part: pl.DataFrame, folder: Path, comm: Communicator) -> list[Path]:
    """Write this rank's rows; return the paths of all ranks, in order. Collective."""

    def write() -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _file_name(comm.rank)
        unfinished = path.with_suffix(".parquet.unfinished")
        try:
            part.write_parquet(unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path

    return together(comm, f"writing {folder}", write, lambda path: path)[1]


def _file_name(rank: int) -> str:
    return f"part-{rank:05d}.parquet"


def _refuse_others(folder: Path, ours: set[str]) -> None:
    """A later scan of the folder would take another table's files for this one's."""
    others = sorted(path.name for path in folder.glob("*.parquet") if path.name not in ours)
    if others:
        raise DataError(f"{folder} holds {', '.join(others[:3])} of another table: remove it, or choose another folder")
