"""A file for what does not fit in memory. It has no name, so that any end of the process removes it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import polars as pl

from deeprc.communicator import Buffer
from deeprc.errors import DataError
from deeprc.table.exchange.encoding import decode, encode

_ATTEMPTS = 5


@dataclass(frozen=True)
class Segment:
    """Rows that were written together: an Arrow IPC stream in a spill file. `source` is the rank they are of."""

    offset: int
    length: int
    rows: int
    source: int = 0


class SpillFile:
    """Segments, one after another, in a nameless file below `folder`.

    Raises:
        DataError: from all methods: the folder's disk is full or broken; names the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bytes_written = 0
        try:
            self._file = _nameless(folder)
        except OSError as error:
            raise self._error(error, 0) from error

    def append(self, stream: Buffer, rows: int, source: int = 0) -> Segment:
        """Write a frame that `encode` has made a stream of."""
        view = memoryview(stream)
        segment = Segment(self.bytes_written, view.nbytes, rows, source)
        try:
            while view.nbytes:
                written = self._file.write(view)
                view = view[written:]
        except OSError as error:
            self.close()
            raise self._error(error, segment.length) from error
        self.bytes_written += segment.length
        return segment

    def append_frame(self, frame: pl.DataFrame, source: int = 0) -> Segment:
        return self.append(encode(frame), frame.height, source)

    def read(self, segment: Segment, empty: pl.DataFrame) -> pl.DataFrame:
        """The frame; `empty` has its columns and no rows."""
        try:
            self._file.seek(segment.offset)
            stream = bytearray(segment.length)
            view = memoryview(stream)
            while view.nbytes:
                got = self._file.readinto(view)
                if not got:
                    raise OSError(f"only {segment.length - view.nbytes} bytes came back")
                view = view[got:]
            return decode(memoryview(stream), empty)
        except OSError as error:
            raise self._error(error, segment.length) from error
        finally:
            self._file.seek(0, 2)

    def frames(self, segments: list[Segment], empty: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The segments' frames, in the order of the ranks that they are of."""
        for segment in sorted(segments, key=lambda segment: segment.source):
            yield self.read(segment, empty)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def _error(self, error: OSError, wanted: int) -> DataError:
        return scratch_error(self._folder, error, self.bytes_written, wanted)


def _nameless(folder: Path) -> FileIO:
    """A new file. The folder looks abandoned while all files in it are nameless: another run's agent may remove it."""
    for _ in range(_ATTEMPTS):
        folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return tempfile.TemporaryFile(dir=folder, buffering=0)
    return tempfile.TemporaryFile(dir=folder, buffering=0)


def scratch_error(folder: Path, error: OSError, written: int = 0, wanted: int = 0) -> DataError:
    """What to say of a scratch folder that could not be written to, or read."""
    free = shutil.disk_usage(folder).free if folder.exists() else 0
    return DataError(
        f"scratch folder {folder}: {error.strerror or error}. {written:,} bytes had been spilled into this file, "
        f"{wanted:,} more were to be, {free:,} are free. Free space there, set DEEPRC_SCRATCH to a folder on a larger "
        "disk, or give the task more memory="
    )
