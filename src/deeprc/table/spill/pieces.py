"""A rank's rows as a sequence of queries, each small enough to be computed in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from deeprc.table.exchange.encoding import decode, encode
from deeprc.table.exchange.exchange import concat
from deeprc.table.plan.placement import Placement
from deeprc.table.spill.file import SpillFile
from deeprc.table.spill.memory import Room

_CHUNK_ROWS = 1 << 15


@dataclass(frozen=True)
class Pieces:
    """Rows in order. `frames` may be asked once, unless `again` says that it may be asked often.

    `placement` says which columns' hash decides the rank of a row; `whole_keys`, that all rows with equal values of
    these are in one frame, too. `stored` says that frames are as they came from a file; `views`, that they are some
    columns of such, whose other columns stay in memory as long as they do.
    """

    schema: pl.Schema
    frames: Callable[[], Iterator[pl.LazyFrame]]
    again: bool = False
    placement: Placement = None
    whole_keys: bool = False
    stored: bool = False
    views: bool = False

    def map(
        self, work: Callable[[pl.LazyFrame], pl.LazyFrame], schema: pl.Schema, placement: Placement = None
    ) -> Pieces:
        """Work on each piece alone, which leaves rows on their rank; `placement` is that of the result."""
        whole = self.whole_keys and placement is not None
        views = self.stored or self.views
        return Pieces(schema, lambda: map(work, self.frames()), self.again, placement, whole, views=views)

    def batches(self, room: Room) -> Iterator[pl.DataFrame]:
        """The rows in frames of about `room.batch` bytes, computed as they are asked for."""
        chunks = (chunk for frame in self.frames() for chunk in _chunks(frame))
        return _joined(map(_owned, chunks) if self.views else chunks, room.batch)

    @property
    def empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.schema)


def batches_of(frame: pl.LazyFrame, room: Room) -> Iterator[pl.DataFrame]:
    """One query's rows, in frames of about `room.batch` bytes."""
    return _joined(_chunks(frame), room.batch)


def _joined(chunks: Iterator[pl.DataFrame], limit: int) -> Iterator[pl.DataFrame]:
    held: list[pl.DataFrame] = []
    held_bytes = 0
    for chunk in chunks:
        for part in _cut(chunk, limit):
            size = int(part.estimated_size())
            if held and held_bytes + size > limit:
                yield concat(held)
                held, held_bytes = [], 0
            held.append(part)
            held_bytes += size
    if held:
        yield concat(held)


def _chunks(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    if not frame.collect_schema():
        # Polars gives no batches of a frame without columns.
        yield frame.collect(engine="streaming")
        return
    yield from frame.collect_batches(chunk_size=_CHUNK_ROWS, maintain_order=True, engine="streaming")


def _owned(frame: pl.DataFrame) -> pl.DataFrame:
    """A copy, which keeps nothing else in memory."""
    return decode(memoryview(encode(frame)), frame.clear()) if frame.height else frame


def _cut(frame: pl.DataFrame, limit: int) -> Iterator[pl.DataFrame]:
    size = int(frame.estimated_size())
    if size <= limit or frame.height <= 1:
        if frame.height:
            yield frame
        return
    rows = max(1, frame.height * limit // size)
    yield from frame.iter_slices(rows)


def of_frames(
    frames: Callable[[], Iterable[pl.DataFrame]],
    schema: pl.Schema,
    *,
    again: bool = False,
    placement: Placement = None,
) -> Pieces:
    """Pieces that are in memory, or will be, one at a time."""
    return Pieces(schema, lambda: (frame.lazy() for frame in frames()), again, placement, stored=True)


@dataclass(frozen=True)
class Kept:
    """A rank's rows in a spill file: how many they are is known, and they can be read often.

    `batches` gives them as they were written: frames of `heights` rows, of a batch's size at the most.
    """

    pieces: Pieces
    batches: Callable[[], Iterator[pl.DataFrame]]
    heights: tuple[int, ...]
    bytes: int

    @property
    def rows(self) -> int:
        return sum(self.heights)


def keep(pieces: Pieces, room: Room, file: SpillFile) -> Kept:
    """Compute the pieces into a file."""
    segments = [file.append_frame(batch) for batch in pieces.batches(room)]

    def batches() -> Iterator[pl.DataFrame]:
        return file.frames(segments, pieces.empty)

    stored = of_frames(batches, pieces.schema, again=True, placement=pieces.placement)
    heights = tuple(segment.rows for segment in segments)
    return Kept(stored, batches, heights, sum(segment.length for segment in segments))
