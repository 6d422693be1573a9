"""Operators that need all rows of a key together: in buckets on disk by the hash of the key, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import polars as pl

from deeprc import journal
from deeprc.table.exchange.exchange import together
from deeprc.table.exchange.partition import key_hashes
from deeprc.table.operators.group_by import taken_apart
from deeprc.table.plan.nodes import GroupBy, Node, Unique
from deeprc.table.plan.placement import key_columns, matching_keys
from deeprc.table.plan.row_nodes import JoinAsof, Keyed
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.grace import Bucket, Side, divided
from deeprc.table.spill.pieces import Pieces, of_frames
from deeprc.table.spill.rounds import by_hash

Work = Callable[[pl.LazyFrame], pl.LazyFrame]


def group_by(node: GroupBy, run: Spilling) -> Pieces:
    """Each batch aggregated before the exchange, where that makes few rows of many."""
    pieces = run.pieces(node.input)
    halves = taken_apart(node)
    if halves is None or matching_keys(pieces.placement, node.keys) is not None:
        return _whole(node, pieces, node.keys, node.apply, run)
    pays, pieces = _shrinks(pieces, node.keys, node, run)
    if not pays:
        return _whole(node, pieces, node.keys, node.apply, run)
    keys = [pl.col(key.meta.output_name()) for key in node.keys]

    def partial(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.group_by(*node.keys).agg(*halves.partial)

    def final(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.group_by(*keys).agg(*halves.final)

    return _whole(node, _each_batch(pieces, partial, run), keys, final, run)


def unique(node: Unique, run: Spilling) -> Pieces:
    """Batches without their repeats before the exchange, where those are many."""
    names = list(node.input.schema) if node.subset is None else list(node.subset)
    keys = [pl.col(name) for name in names]
    pieces = run.pieces(node.input)
    if node.keep == "none" or matching_keys(pieces.placement, keys) is not None:
        return _whole(node, pieces, keys, node.apply, run)
    pays, pieces = _shrinks(pieces, keys, node, run)

    def first(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.unique(names, keep=node.keep, maintain_order=True)

    return _whole(node, _each_batch(pieces, first, run) if pays else pieces, keys, node.apply, run)


def keyed(node: Keyed, run: Spilling) -> Pieces:
    # What columns the method writes is not known, nor where a row then belongs.
    return replace(_whole(node, run.pieces(node.input), node.keys, node.apply, run), placement=None, whole_keys=False)


def join_asof(node: JoinAsof, run: Spilling) -> Pieces:
    """With `by` columns: both sides in buckets by these."""
    count = run.bucket_count(node.inputs)
    sides = []
    for table, names, side in ((node.left, node.left_by, "left"), (node.right, node.right_by, "right")):
        keys = [pl.col(name) for name in names]
        route = by_hash(keys, run.comm.size, count)
        sides.append((run.exchange(run.pieces(table), route, f"{node.label()} ({side})"), keys))

    def frames() -> Iterator[pl.LazyFrame]:
        for number in range(count):
            for bucket in divided(Bucket(tuple(Side(rows, number, keys) for rows, keys in sides)), run):
                left, right = bucket.sides
                yield node.apply(left.whole().lazy(), right.whole().lazy())

    return Pieces(node.schema, frames, again=True)


def _whole(node: Node, pieces: Pieces, keys: Sequence[pl.Expr], work: Work, run: Spilling) -> Pieces:
    return of_keys(pieces, keys, work, node.schema, node, run)


def of_keys(
    pieces: Pieces,
    keys: Sequence[pl.Expr],
    work: Work,
    schema: pl.Schema,
    node: Node,
    run: Spilling,
    count: int | None = None,
) -> Pieces:
    """The work on all rows of equal keys, some keys at a time. Rows that are on their keys' rank stay there.

    `count` is how many buckets a rank's rows should be in, where that is known better than from the inputs of `node`.
    """
    match = matching_keys(pieces.placement, keys)
    if match is not None and pieces.whole_keys:
        return pieces.map(work, schema, pieces.placement)
    hashed = keys if match is None else [keys[index] for index in match]
    count = count or run.bucket_count(node.inputs)
    arrived = run.exchange(pieces, by_hash(hashed, run.comm.size, count), node.label(), moves=match is None)
    total = sum(run.comm.all_gather(sum(arrived.rows_in(number) for number in range(count))))
    # Not again when the rows are asked for again.
    warned = False

    def frames() -> Iterator[pl.LazyFrame]:
        nonlocal warned
        for number in range(count):
            for bucket in divided(Bucket((Side(arrived, number, keys),)), run):
                rows = bucket.sides[0].whole()
                if bucket.single and bucket.bytes > run.room.bucket and not warned:
                    warned = True
                    _warn(node, rows, keys, total)
                yield work(rows.lazy())

    return Pieces(
        schema, frames, again=True, placement=key_columns(hashed), whole_keys=match is None or len(match) == len(keys)
    )


def _warn(node: Node, rows: pl.DataFrame, keys: Sequence[pl.Expr], total: int) -> None:
    key = rows.head(1).select(*keys).rows()[0]
    journal.record(
        "warning",
        message=f"{node.label()}: the rows of the key {key} are {rows.height / max(total, 1):.0%} of all "
        f"{total:,}, more than a rank's memory is meant for; they are held together, since the operator "
        "needs all of them",
    )


def _each_batch(pieces: Pieces, work: Work, run: Spilling) -> Pieces:
    def frames() -> Iterator[pl.LazyFrame]:
        return (work(batch.lazy()) for batch in pieces.batches(run.room))

    return Pieces(work(pl.LazyFrame(schema=pieces.schema)).collect_schema(), frames)


def _shrinks(pieces: Pieces, keys: Sequence[pl.Expr], node: Node, run: Spilling) -> tuple[bool, Pieces]:
    """Whether each batch has so few distinct keys that reducing it pays; looks at the first batch of every rank."""
    batches = pieces.batches(run.room)

    def looked() -> tuple[pl.DataFrame, int]:
        first = next(batches, pieces.empty)
        return first, key_hashes(first, keys).n_unique() if first.height else 0

    (first, _), facts = together(
        run.comm, f"computing the keys of {node.label()}", looked, lambda found: (found[0].height, found[1])
    )
    rows, distinct = (sum(column) for column in zip(*facts, strict=True))
    return distinct < 0.5 * rows, of_frames(lambda: chain([first], batches), pieces.schema)
