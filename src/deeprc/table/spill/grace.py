"""Buckets that are too large for memory: divided by another hash, until only rows of one key are left together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from deeprc.table.exchange.exchange import concat
from deeprc.table.exchange.partition import key_hashes, split
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.file import Segment
from deeprc.table.spill.rounds import Buckets

_WAYS = 8
_MOST_LEVELS = 6
_SAMPLE = 512  # Rows of each segment


@dataclass(frozen=True)
class Side:
    """Rows of one bucket, on disk, and the keys that they are hashed by."""

    buckets: Buckets
    bucket: int
    keys: Sequence[pl.Expr]

    @property
    def bytes(self) -> int:
        return self.buckets.bytes_in(self.bucket)

    @property
    def rows(self) -> int:
        return self.buckets.rows_in(self.bucket)

    def frames(self) -> Iterator[pl.DataFrame]:
        return self.buckets.frames(self.bucket)

    def blocks(self, limit: int) -> Iterator[pl.DataFrame]:
        """The rows in frames of about `limit` bytes."""
        held: list[pl.DataFrame] = []
        for frame in self.frames():
            held.append(frame)
            if sum(frame.estimated_size() for frame in held) >= limit:
                yield concat(held)
                held = []
        if held:
            yield concat(held)

    def whole(self) -> pl.DataFrame:
        """All rows at once."""
        frames = [frame for frame in self.frames() if frame.height]
        return concat(frames) if frames else self.buckets.empty


@dataclass(frozen=True)
class Bucket:
    """The same keys of one or two tables; `single` says that all rows have one key."""

    sides: tuple[Side, ...]
    single: bool = False

    @property
    def bytes(self) -> int:
        return sum(side.bytes for side in self.sides)


def divided(bucket: Bucket, run: Spilling, level: int = 1) -> Iterator[Bucket]:
    """The bucket in parts that fit, or have one key only."""
    if bucket.bytes <= run.room.bucket or bucket.single or level > _MOST_LEVELS:
        yield bucket
        return
    hashed = _by_hash(bucket, run, level)
    if max(part.bytes for part in hashed) <= 0.7 * bucket.bytes:
        for part in hashed:
            yield from divided(part, run, level + 1)
        return
    one, others = _without_heaviest(bucket, run, level)
    yield one
    yield from divided(others, run, level + 1)


def _by_hash(bucket: Bucket, run: Spilling, level: int) -> list[Bucket]:
    ways = min(64, max(_WAYS, 2 * bucket.bytes // run.room.bucket))

    def targets(side: Side, frame: pl.DataFrame) -> pl.Series:
        return key_hashes(frame, side.keys, level) % ways

    return _sorted_out(bucket, run, ways, targets)


def _without_heaviest(bucket: Bucket, run: Spilling, level: int) -> tuple[Bucket, Bucket]:
    """The rows of the commonest key, and all others. A key is known by two hashes of 64 bits."""
    heavier = max(bucket.sides, key=lambda side: side.bytes)
    samples = []
    for frame in heavier.frames():
        some = frame.gather_every(max(1, frame.height // _SAMPLE))
        samples.append(_two_hashes(some, heavier.keys, level))
    first, second = concat(samples).group_by("first", "second").len().sort("len").row(-1)[:2]

    def targets(side: Side, frame: pl.DataFrame) -> pl.Series:
        hashes = _two_hashes(frame, side.keys, level)
        is_other = (pl.col("first") != pl.lit(first, pl.UInt64)) | (pl.col("second") != pl.lit(second, pl.UInt64))
        return hashes.select(is_other.cast(pl.UInt64)).to_series()

    one, others = _sorted_out(bucket, run, 2, targets)
    return Bucket(one.sides, single=True), others


def _two_hashes(frame: pl.DataFrame, keys: Sequence[pl.Expr], level: int) -> pl.DataFrame:
    return pl.DataFrame({"first": key_hashes(frame, keys, level), "second": key_hashes(frame, keys, -level)})


def _sorted_out(
    bucket: Bucket, run: Spilling, ways: int, targets: Callable[[Side, pl.DataFrame], pl.Series]
) -> list[Bucket]:
    sides = []
    for side in bucket.sides:
        parts = Buckets(run.new_file(), side.buckets.empty)
        for segment in sorted(side.buckets.segments.get(side.bucket, []), key=_source):
            frame = side.buckets.file.read(segment, side.buckets.empty)
            for index, rows in enumerate(split(frame, targets(side, frame), ways)):
                if rows.height:
                    parts.segments.setdefault(index, []).append(parts.file.append_frame(rows, segment.source))
        sides.append(parts)
    return [
        Bucket(tuple(Side(parts, index, side.keys) for parts, side in zip(sides, bucket.sides, strict=True)))
        for index in range(ways)
    ]


def _source(segment: Segment) -> int:
    return segment.source
