"""Rows in the order of a column, over pieces: each batch with the rows before and after it that its windows reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise

import polars as pl

from deeprc.table.exchange.exchange import concat, replicate, together
from deeprc.table.plan.nodes import Node
from deeprc.table.spill.context import Numbered, Spilling
from deeprc.table.spill.pieces import of_frames
from deeprc.table.spill.rounds import Parcel

TIME, FIRST, LAST, FROM, TO = "__time__", "first", "last", "from", "to"
# What is needed of a batch, with the values that its rows are in the order of as TIME.
View = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Spans:
    """The first and the last time of each batch of all ranks, and how many batches come before each rank's."""

    ends: pl.DataFrame
    edges: list[int]
    nulls: bool
    in_order: bool


@dataclass(frozen=True)
class Near:
    """The batch of this number with rows around it: `lead` of them come before its own, which are `height`."""

    number: int
    lead: int
    height: int
    rows: pl.DataFrame


def spans(rows: Numbered, view: View, node: Node, run: Spilling) -> Spans:
    """Look at all rows. Collective."""

    def looked() -> tuple[pl.DataFrame, bool, bool]:
        none = view(rows.kept.pieces.empty)[TIME]
        ends, nulls, ordered = [pl.DataFrame({FIRST: none, LAST: none})], False, True
        for batch in rows.kept.batches():
            times = view(batch)[TIME]
            nulls |= times.null_count() > 0
            ordered &= times.is_sorted()
            # Copies: slices would keep the whole batch.
            ends.append(pl.DataFrame({FIRST: times.gather([0]), LAST: times.gather([times.len() - 1])}))
        return concat(ends), nulls, ordered

    (own, *_), facts = together(
        run.comm, f"looking at the order of {node.label()}", looked, lambda found: (found[0].height, *found[1:])
    )
    ends = replicate(own, run.comm, f"{node.label()} (ends)")
    nulls = any(found[1] for found in facts)
    # Where all batches are in order, so is the table if each begins after the one before has ended.
    follows = ends[FIRST].slice(1) >= ends[LAST].head(max(ends.height - 1, 0))
    ordered = not nulls and all(found[2] for found in facts) and bool(follows.all())
    return Spans(ends, list(accumulate((found[0] for found in facts), initial=0)), nulls, ordered)


def neighbours(
    rows: Numbered, found: Spans, wanted: pl.DataFrame, view: View, node: Node, run: Spilling
) -> Callable[[], Iterator[Near]]:
    """Each batch's view with the rows, of this rank and of others, whose times lie in the range that it wants.

    `wanted` has the ends of a range for each batch of all ranks, FROM and TO, which take in the batch's own times.
    The rows of other ranks are fetched at once; the batches can be asked for often. Collective.
    """
    # Where clocks are set back ranges may be, too: what is held for one batch is there for those after it.
    grows = wanted.select(pl.col(FROM).cum_min(reverse=True), pl.col(TO).cum_max())
    of_ranks = [grows.slice(start, end - start) for start, end in pairwise(found.edges)]

    def route(batch: pl.DataFrame) -> list[Parcel]:
        parcels = []
        for rank, ranges in enumerate(of_ranks):
            if rank != run.comm.rank and ranges.height:
                low, high = _within(batch[TIME], ranges[FROM].head(1), ranges[TO].tail(1))
                parcels.append(Parcel(rank, int(rank < run.comm.rank), batch.slice(low, high - low)))
        return [parcel for parcel in parcels if parcel.rows.height]

    schema = view(rows.kept.pieces.empty).schema
    seen = replace(of_frames(lambda: map(view, rows.kept.batches()), schema, again=True), views=True)
    fetched = run.exchange(seen, route, node.label())

    def batches() -> Iterator[Near]:
        stream = chain(fetched.frames(0), map(view, rows.kept.batches()), fetched.frames(1))
        return _sliding(stream, fetched.rows_in(0), rows.kept.heights, of_ranks[run.comm.rank])

    return batches


def _sliding(
    stream: Iterator[pl.DataFrame], before: int, heights: Sequence[int], ranges: pl.DataFrame
) -> Iterator[Near]:
    """Each batch with its neighbours, of a stream that has `before` rows ahead of the first batch's."""
    held: list[pl.DataFrame] = []
    start = end = 0  # The numbers in the stream of the first row that is held, and of that after the last one
    first = before
    for number, height in enumerate(heights):
        low, high = ranges[FROM].slice(number, 1), ranges[TO].slice(number, 1)
        while end < first + height or (held[-1][TIME].tail(1) <= high).all():
            frame = next(stream, None)
            if frame is None:
                break
            held.append(frame)
            end += frame.height
        while start + held[0].height <= first and (held[0][TIME].tail(1) < low).all():
            start += held.pop(0).height
        rows = concat(held)
        own = first - start
        cut, until = _within(rows[TIME], low, high)
        cut, until = min(cut, own), max(until, own + height)
        yield Near(number, own - cut, height, rows.slice(cut, until - cut))
        first += height


def _within(times: pl.Series, low: pl.Series, high: pl.Series) -> tuple[int, int]:
    """Which of sorted times lie in a range, ends included."""
    start = times.search_sorted(low.cast(times.dtype), "left")
    end = times.search_sorted(high.cast(times.dtype), "right")
    return int(start[0]), max(int(start[0]), int(end[0]))
