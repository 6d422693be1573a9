"""Rows on disk as queries, for what reads them by itself: Polars' operators on a whole part, and its writers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from deeprc.communicator import Communicator
from deeprc.table.exchange.exchange import together
from deeprc.table.files.writing import Part, in_folders
from deeprc.table.spill.file import Segment, SpillFile, scratch_error
from deeprc.workspace import new_spill_folder, scratch


@contextmanager
def on_disk(batches: Iterator[pl.DataFrame], schema: pl.Schema, comm: Communicator) -> Iterator[pl.LazyFrame]:
    """A query over the batches, computed into files that are there until the context ends. Collective."""
    with ExitStack() as stack:

        def write() -> pl.LazyFrame:
            folder = new_spill_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            return scan_of_files(batches, pl.DataFrame(schema=schema), folder)

        yield together(comm, "computing its part into files", write, lambda _: None)[0]


@contextmanager
def on_disk_in_folders(
    batches: Iterator[pl.DataFrame], schema: pl.Schema, names: Sequence[str], comm: Communicator
) -> Iterator[list[Part]]:
    """As `on_disk`, one query for the rows of each folder that the values of the columns `names` make."""
    empty = pl.DataFrame(schema=schema).drop(names)
    with ExitStack() as stack:

        def write() -> list[Part]:
            file = SpillFile(scratch())
            stack.callback(file.close)
            segments: dict[str, list[Segment]] = {}
            for batch in batches:
                for folder, rows in in_folders(batch, names):
                    segments.setdefault(folder, []).append(file.append_frame(rows))
            return [(folder, _scan_of_segments(file, segments[folder], empty)) for folder in sorted(segments)]

        yield together(comm, "computing its part into files", write, lambda _: None)[0]


def _scan_of_segments(file: SpillFile, segments: list[Segment], empty: pl.DataFrame) -> pl.LazyFrame:
    def frames(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        left = sum(segment.rows for segment in segments) if rows is None else rows
        for frame in file.frames(segments, empty):
            some = frame.head(left)
            left -= some.height
            kept = some if predicate is None else some.filter(predicate)
            yield kept if columns is None else kept.select(columns)
            if not left:
                break

    return register_io_source(frames, schema=empty.schema)


def scan_of_files(batches: Iterator[pl.DataFrame], empty: pl.DataFrame, folder: Path) -> pl.LazyFrame:
    """A query over the batches, written into the folder.

    Raises:
        DataError: the folder's disk is full or broken; names the folder.
    """
    paths = []
    try:
        for number, batch in enumerate(batches):
            paths.append(folder / f"{number:06d}.arrow")
            batch.write_ipc(paths[-1])
    except OSError as error:
        raise scratch_error(folder, error) from error
    return pl.scan_ipc(paths) if paths and empty.width else empty.lazy()
