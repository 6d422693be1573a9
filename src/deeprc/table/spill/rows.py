"""Operators on rows by where they stand, over pieces: rows are counted by computing them into a file first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import polars as pl

from deeprc.errors import DataError
from deeprc.table.operators.whole import even_counts
from deeprc.table.plan.nodes import Head
from deeprc.table.plan.placement import key_columns, matching_keys
from deeprc.table.plan.row_nodes import Concat, Repartition, RowIndex, ShuffleByKey, Slice
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.pieces import Kept, Pieces, batches_of, of_frames
from deeprc.table.spill.rounds import Parcel, by_hash


def head(node: Head, run: Spilling) -> Pieces:
    """No rank computes more rows than may be asked of it."""
    first = _limited(run.pieces(node.input), node.n, run)
    kept, facts = run.kept(first, node.label())
    before = sum(rows for rows, _ in facts[: run.comm.rank])
    return _cut(kept, 0, max(0, node.n - before), run)


def slice_rows(node: Slice, run: Spilling) -> Pieces:
    kept, facts = run.kept(run.pieces(node.input), node.label())
    total = sum(rows for rows, _ in facts)
    before = sum(rows for rows, _ in facts[: run.comm.rank])
    first = node.offset if node.offset >= 0 else total + node.offset
    # An offset before the first row takes from the length, as in Polars.
    last = total if node.length is None else min(total, first + node.length)
    start = min(max(first - before, 0), kept.rows)
    return _cut(kept, start, min(max(last - before, start), kept.rows), run)


def row_index(node: RowIndex, run: Spilling) -> Pieces:
    kept, facts = run.kept(run.pieces(node.input), node.label())

    def frames() -> Iterator[pl.DataFrame]:
        number = node.offset + sum(rows for rows, _ in facts[: run.comm.rank])
        for batch in kept.pieces.batches(run.room):
            index = pl.int_range(number, number + batch.height, dtype=pl.get_index_type(), eager=True)
            yield batch.insert_column(0, index.alias(node.name))
            number += batch.height

    return of_frames(frames, node.schema, again=True, placement=kept.pieces.placement)


def shuffle(node: ShuffleByKey, run: Spilling) -> Pieces:
    pieces = run.pieces(node.input)
    if matching_keys(pieces.placement, node.keys) is not None:
        return pieces
    arrived = run.exchange(pieces, by_hash(node.keys, run.comm.size, 1), node.label())
    return of_frames(lambda: arrived.frames(0), node.schema, again=True, placement=key_columns(node.keys))


def concat(node: Concat, run: Spilling) -> Pieces:
    """As the rows lie, or evenly in the tables' order."""
    tables = [run.pieces(table) for table in node.tables]
    if not node.in_order:
        return Pieces(node.schema, lambda: (frame for table in tables for frame in table.frames()))
    parts = [run.kept(table, node.label()) for table in tables]
    totals = [sum(rows for rows, _ in facts) for _, facts in parts]
    sizes = even_counts(sum(totals), run.comm.size)
    moved = []
    for index, (kept, facts) in enumerate(parts):
        before = sum(totals[:index]) + sum(rows for rows, _ in facts[: run.comm.rank])
        moved.append(to_positions(kept, before, sizes, node.label(), run))
    return Pieces(node.schema, lambda: (frame for part in moved for frame in part.frames()), again=True)


def repartition(node: Repartition, run: Spilling) -> Pieces:
    """Raises DataError, on all ranks alike, where the sizes do not add up to the number of rows."""
    kept, facts = run.kept(run.pieces(node.input), node.label())
    heights = [rows for rows, _ in facts]
    sizes = node.sizes or even_counts(sum(heights), run.comm.size)
    if sum(sizes) != sum(heights):
        raise DataError(f"repartition to {list(sizes)}: these are {sum(sizes)} rows, the table has {sum(heights)}")
    return to_positions(kept, sum(heights[: run.comm.rank]), sizes, node.label(), run)


def to_positions(kept: Kept, before: int, sizes: Sequence[int], operator: str, run: Spilling) -> Pieces:
    """Rank i gets the `sizes[i]` rows that follow those of the ranks before; this one's begin at number `before`."""
    edges = list(accumulate(sizes, initial=0))
    first = before

    def route(batch: pl.DataFrame) -> list[Parcel]:
        nonlocal first
        parcels = []
        for rank in range(run.comm.size):
            start = min(max(edges[rank] - first, 0), batch.height)
            end = min(max(edges[rank + 1] - first, start), batch.height)
            if end > start:
                parcels.append(Parcel(rank, 0, batch.slice(start, end - start)))
        first += batch.height
        return parcels

    arrived = run.exchange(kept.pieces, route, operator)
    return of_frames(lambda: arrived.frames(0), kept.pieces.schema, again=True)


def _limited(pieces: Pieces, rows: int, run: Spilling) -> Pieces:
    """The first rows of the pieces; no piece after them is computed."""

    def frames() -> Iterator[pl.LazyFrame]:
        left = rows
        for frame in pieces.frames():
            if left <= 0:
                return
            for batch in batches_of(frame.head(left), run.room):
                left -= batch.height
                yield batch.lazy()

    return Pieces(pieces.schema, frames, placement=pieces.placement)


def _cut(kept: Kept, start: int, end: int, run: Spilling) -> Pieces:
    """Rows [start, end) of this rank's."""

    def frames() -> Iterator[pl.DataFrame]:
        number = 0
        for batch in kept.pieces.batches(run.room):
            low, high = max(start - number, 0), min(end - number, batch.height)
            number += batch.height
            if high > low:
                yield batch.slice(low, high - low)

    return of_frames(frames, kept.pieces.schema, again=True, placement=kept.pieces.placement)
