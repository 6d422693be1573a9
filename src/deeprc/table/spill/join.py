"""Join in buckets: both sides meet on disk by the hash of their keys, and each bucket is joined in memory.

Source: Kitsuregawa, Tanaka and Moto-oka, Application of hash to data base machine and its architecture, New
Generation Computing 1 (1983): the GRACE hash join.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import polars as pl

from deeprc.table.exchange import concat, replicate, together
from deeprc.table.operators import join as in_memory
from deeprc.table.operators.skew import (
    Sample,
    Spread,
    as_series,
    find_heavy_keys,
    matched,
    null_keys,
    preserved,
    sample_keys,
)
from deeprc.table.partition import key_hashes
from deeprc.table.plan import Join
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.grace import Bucket, Side, divided
from deeprc.table.spill.pieces import Pieces, of_frames
from deeprc.table.spill.rounds import Parcel, Route, by_hash


def join(node: Join, run: Spilling) -> Pieces:
    """Any join but those whose keys look at other rows."""
    left, right = run.pieces(node.left), run.pieces(node.right)
    if node.how == "cross":
        return _cross(node, left, right, run)
    if in_memory.keeps_left(node) and _may_be_small(node, run):
        kept, facts = run.kept(right, node.label())
        if sum(size for _, size in facts) <= _small(run):
            mine = concat([right.empty, *kept.pieces.batches(run.room)])
            everywhere = replicate(mine, run.comm, f"{node.label()} (right to all)").lazy()
            return left.map(lambda frame: node.apply(frame, everywhere), node.schema)
        right = kept.pieces
    return _by_hash(node, left, right, run)


def _small(run: Spilling) -> int:
    return min(in_memory.BROADCAST_BYTES, run.room.bucket // 2)


def _may_be_small(node: Join, run: Spilling) -> bool:
    expected = run.expected_bytes(node.right)
    return max(run.comm.all_gather(0.0 if expected is None else expected)) <= 4 * _small(run)


def _cross(node: Join, left: Pieces, right: Pieces, run: Spilling) -> Pieces:
    """The right side to all ranks, on disk; the left stays, on disk too."""
    ranks = range(run.comm.size)
    everywhere = run.exchange(
        right, lambda batch: [Parcel(rank, 0, batch) for rank in ranks], f"{node.label()} (right to all)"
    )
    here = run.keep(left, node.label()).pieces

    def frames() -> Iterator[pl.LazyFrame]:
        for batch in here.batches(run.room):
            for other in everywhere.frames(0):
                yield node.apply(batch.lazy(), other.lazy())

    return Pieces(node.schema, frames, again=True)


def _by_hash(node: Join, left: Pieces, right: Pieces, run: Spilling) -> Pieces:
    count = run.bucket_count([node.left, node.right])
    spread, left, right = _heavy_keys(node, left, right, run)
    lefts = run.exchange(left, _routed(node, spread, count, run, left=True), f"{node.label()} (left)")
    rights = run.exchange(right, _routed(node, spread, count, run, left=False), f"{node.label()} (right)")

    def frames() -> Iterator[pl.LazyFrame]:
        for number in range(count + 3):
            sides = Side(lefts, number, node.left_on), Side(rights, number, node.right_on)
            if number == count:
                yield from _unmatched(node, *sides)
                continue
            copied = {count + 1: "right", count + 2: "left"}.get(number)
            for bucket in divided(Bucket(sides), run):
                yield from _joined(node, bucket, copied, run)

    return Pieces(node.schema, frames, again=True)


def _heavy_keys(node: Join, left: Pieces, right: Pieces, run: Spilling) -> tuple[Spread, Pieces, Pieces]:
    """Look at the first batch of each side, and give the sides back with it."""

    def looked(pieces: Pieces, keys: Sequence[pl.Expr]) -> tuple[Sample, Pieces]:
        batches = pieces.batches(run.room)
        first = next(batches, pieces.empty)
        return sample_keys(first, keys, node), of_frames(lambda: chain([first], batches), pieces.schema)

    (lefts, rights), _ = together(
        run.comm,
        f"computing the keys of {node.label()}",
        lambda: (looked(left, node.left_on), looked(right, node.right_on)),
        lambda _: None,
    )
    return find_heavy_keys(lefts[0], rights[0], node, run.comm), lefts[1], rights[1]


def _routed(node: Join, spread: Spread, count: int, run: Spilling, *, left: bool) -> Route:
    """By hash into `count` buckets. Three more are for rows that match nothing, which stay on their rank, and for the
    keys of which the left side is spread and the right one copied, or the other way round."""
    keys = node.left_on if left else node.right_on
    mine, theirs = (spread.left, spread.right) if left else (spread.right, spread.left)
    own, other = (count + 1, count + 2) if left else (count + 2, count + 1)
    ordinary = by_hash(keys, run.comm.size, count)

    def route(batch: pl.DataFrame) -> list[Parcel]:
        parcels = []
        nulls = null_keys(batch, keys, node)
        if nulls.any():
            parcels.append(Parcel(run.comm.rank, count, batch.filter(nulls)))
            batch = batch.filter(~nulls)
        if mine or theirs:
            hashes = key_hashes(batch, keys)
            turn, everywhere = hashes.is_in(as_series(mine)), hashes.is_in(as_series(theirs))
            for rank in range(run.comm.size):
                heavy = batch.filter(turn).gather_every(run.comm.size, rank)
                parcels.append(Parcel((rank + run.comm.rank) % run.comm.size, own, heavy))
            copies = batch.filter(everywhere)
            parcels.extend(Parcel(rank, other, copies) for rank in range(run.comm.size))
            batch = batch.filter(~(turn | everywhere))
        return [*parcels, *ordinary(batch)]

    return route


def _unmatched(node: Join, left: Side, right: Side) -> Iterator[pl.LazyFrame]:
    """Rows whose keys match nothing: each side beside an empty other one."""
    for frame in left.frames():
        yield node.apply(frame.lazy(), right.buckets.empty.lazy())
    if preserved(node, left=False):
        for frame in right.frames():
            yield node.apply(left.buckets.empty.lazy(), frame.lazy())


def _joined(node: Join, bucket: Bucket, copied: str | None, run: Spilling) -> Iterator[pl.LazyFrame]:
    left, right = bucket.sides
    if bucket.single and bucket.bytes > run.room.bucket:
        yield from _joined_in_blocks(node, bucket, copied, run)
        return
    lefts, rights = left.whole().lazy(), right.whole().lazy()
    if copied == "left" and preserved(node, left=True):
        lefts = matched(lefts, rights, node, left=True)
    if copied == "right" and preserved(node, left=False):
        rights = matched(rights, lefts, node, left=False)
    yield node.apply(lefts, rights)


def _match(node: Join, left: Side, right: Side) -> bool:
    """Whether the one key of both sides equals itself: a part of it may be null."""
    one, other = (next(side.frames()).head(1).lazy() for side in (left, right))
    return matched(one, other, node, left=True).collect().height > 0


def _joined_in_blocks(node: Join, bucket: Bucket, copied: str | None, run: Spilling) -> Iterator[pl.LazyFrame]:
    """All rows have one key, so all match: every block of one side meets every block of the other."""
    left, right = bucket.sides
    if not left.rows or not right.rows or not _match(node, left, right):
        if (copied == "left" and left.rows) or (copied == "right" and right.rows):
            return
        yield from _unmatched(node, left, right)
        return
    for frame in left.blocks(run.room.batch):
        for other in right.blocks(run.room.batch):
            yield node.apply(frame.lazy(), other.lazy())
            if node.how in ("semi", "anti"):
                break
