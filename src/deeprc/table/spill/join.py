"""Join in buckets: both sides meet on disk by the hash of their keys, and each bucket is joined in memory.

Source: Kitsuregawa, Tanaka and Moto-oka, Application of hash to data base machine and its architecture, New
Generation Computing 1 (1983): the GRACE hash join.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from deeprc.table.exchange.exchange import concat, replicate
from deeprc.table.operators import join as in_memory
from deeprc.table.operators.skew import matched, preserved
from deeprc.table.plan.nodes import Join
from deeprc.table.plan.placement import matching_keys
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.grace import Bucket, Side, divided
from deeprc.table.spill.join_routes import NO_HEAVY_KEYS, Routing, heavy_keys, warn_and_count_nulls
from deeprc.table.spill.pieces import Pieces
from deeprc.table.spill.rounds import Parcel, by_hash


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
            return left.map(lambda frame: node.apply(frame, everywhere), node.schema, left.placement)
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
    """Sides that are where the other's keys, or all keys, say, stay there."""
    count = run.bucket_count([node.left, node.right])
    left_match = matching_keys(left.placement, node.left_on)
    right_match = matching_keys(right.placement, node.right_on)
    heavy = NO_HEAVY_KEYS
    if left_match is None or left_match != right_match:
        heavy, left, right = heavy_keys(node, left, right, run)
    spreads = bool(heavy.spread.left or heavy.spread.right)
    if spreads:
        left_match = right_match = None
    chosen = left_match or right_match or tuple(range(len(node.left_on)))
    left_stays, right_stays = left_match is not None, right_match == chosen
    hashed = [[keys[index] for index in chosen] for keys in (node.left_on, node.right_on)]
    routes = [
        Routing(node, heavy.spread, by_hash(keys, run.comm.size, count), count, run.comm, is_left=side == 0)
        for side, keys in enumerate(hashed)
    ]
    lefts = run.exchange(left, routes[0].route, f"{node.label()} (left)", moves=not left_stays)
    rights = run.exchange(right, routes[1].route, f"{node.label()} (right)", moves=not right_stays)
    nulls = warn_and_count_nulls(node, heavy, routes, run)

    def frames() -> Iterator[pl.LazyFrame]:
        for number in range(count + 3):
            sides = Side(lefts, number, node.left_on), Side(rights, number, node.right_on)
            if number == count:
                yield from _unmatched(node, *sides)
                continue
            copied = {count + 1: "right", count + 2: "left"}.get(number)
            for bucket in divided(Bucket(sides), run):
                yield from _joined(node, bucket, copied, run)

    # Rows whose keys are null match nothing, and are not where they hash to.
    stays = left_stays, right_stays
    apart = any(nulls[side] and preserved(node, left=side == 0) and not stays[side] for side in (0, 1))
    placed = not spreads and not apart
    return Pieces(node.schema, frames, again=True, placement=in_memory.kept_placement(node, chosen) if placed else None)


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
