"""Columns that look at other rows: the rows stay in a file where they are, what is computed comes back to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import polars as pl

from deeprc.table.exchange.exchange import concat, exchange, replicate, together
from deeprc.table.exchange.partition import split
from deeprc.table.files.statistics import widths
from deeprc.table.operators.shuffle import ROW_NUMBER
from deeprc.table.operators.windows import Carry, between, read_columns
from deeprc.table.plan.nodes import Select
from deeprc.table.plan.placement import matching_keys
from deeprc.table.plan.window_nodes import Around, ByKey, Carried, Nearby, Numbered
from deeprc.table.spill import context
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.grace import Side
from deeprc.table.spill.groups import of_keys
from deeprc.table.spill.pieces import Pieces, of_frames
from deeprc.table.spill.rounds import Parcel, Route

_MOST_RANGES = 256


def by_key(node: ByKey, run: Spilling) -> Pieces:
    """What is read, by hash of the keys; the results back by the numbers of their rows."""
    source = run.pieces(node.input)
    if matching_keys(source.placement, node.keys) is not None and source.whole_keys:
        return source.map(node.apply, node.schema, source.placement)
    rows = run.numbered(source, node.label())
    needed = read_columns(node, (*node.keys, *node.exprs))
    read = rows.pieces(needed, source.placement)

    def computed(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.select(ROW_NUMBER, *node.exprs)

    added = _added(node)
    count = run.buckets_of(rows.bytes_of(needed))
    results = of_keys(read, node.keys, computed, pl.Schema({ROW_NUMBER: pl.Int64(), **added}), node, run, count)
    moves = matching_keys(source.placement, node.keys) is None
    return beside(rows, [results], node, run, moves=moves)


def beside(
    rows: context.Numbered, results: Sequence[Pieces], node: Around, run: Spilling, *, moves: bool = True
) -> Pieces:
    """The rows as they lie, with the columns of `results`, which have the same rows by their numbers in any order."""
    # Of the results a range is sorted at a time, beside a batch of the rows.
    each = sum(width for result in results for width in widths(result.schema).values())
    rows_each = max(1, int(run.room.bucket / (2 * each)), -(-max(rows.heights) // _MOST_RANGES))
    count = max(1, -(-max(rows.heights) // rows_each))
    route = _by_number(rows.edges, rows_each, count)
    back = [run.exchange(result, route, f"{node.label()} (back)", moves=moves) for result in results]

    def in_order() -> Iterator[pl.DataFrame]:
        for number in range(count):
            parts = [Side(buckets, number, ()).whole().sort(ROW_NUMBER).drop(ROW_NUMBER) for buckets in back]
            yield pl.concat(parts, how="horizontal")

    return _attached(rows, in_order, node)


def _attached(rows: context.Numbered, columns: Callable[[], Iterator[pl.DataFrame]], node: Around) -> Pieces:
    """The rows as they lie, with columns of as many rows in the same order."""

    def frames() -> Iterator[pl.DataFrame]:
        batches = rows.kept.batches()
        left = rows.kept.pieces.empty
        for part in columns():
            found = part
            while found.height:
                left = left if left.height else next(batches)
                some = min(left.height, found.height)
                yield left.head(some).with_columns(found.head(some).get_columns())
                left, found = left.slice(some), found.slice(some)

    return of_frames(frames, node.schema, again=True, placement=rows.kept.pieces.placement)


def around(node: Around, rows: context.Numbered, run: Spilling) -> Pieces:
    """What has no way in batches: the columns that it reads in memory, as without a budget; the rows on disk."""
    read = Select(rows.source(node.label()), tuple(pl.col(name) for name in read_columns(node, node.exprs)))
    found = run.in_memory(replace(node, input=read))
    added = found.map(lambda frame: frame.select(*_added(node)), pl.Schema(_added(node)))
    return _attached(rows, run.keep(added, node.label()).batches, node)


def whole(node: Around, run: Spilling) -> Pieces:
    """Columns of which nobody can say what they depend on."""
    return around(node, run.numbered(run.pieces(node.input), node.label()), run)


def _by_number(edges: Sequence[int], rows_each: int, count: int) -> Route:
    """To the rank whose rows have these numbers, there to one of `count` ranges of its rows."""
    firsts = pl.Series(edges, dtype=pl.Int64)

    def route(batch: pl.DataFrame) -> list[Parcel]:
        numbers = batch[ROW_NUMBER]
        # Ranks without rows begin where the next one does.
        ranks = (firsts.search_sorted(numbers, side="right") - 1).cast(pl.Int64)
        targets = (ranks * count + (numbers - firsts.gather(ranks)) // rows_each).cast(pl.UInt64)
        parts = split(batch, targets, (len(edges) - 1) * count)
        return [Parcel(index // count, index % count, part) for index, part in enumerate(parts) if part.height]

    return route


def numbers(node: Numbered, run: Spilling) -> Pieces:
    rows = run.numbered(run.pieces(node.input), node.label())

    def frames() -> Iterator[pl.DataFrame]:
        start = rows.edges[run.comm.rank]
        for batch in rows.kept.batches():
            own = pl.int_range(start, start + batch.height, dtype=pl.Int64, eager=True)
            yield batch.with_columns(own.cast(dtype).alias(name) for name, dtype in _added(node).items())
            start += batch.height

    return of_frames(frames, node.schema, again=True, placement=rows.kept.pieces.placement)


def nearby(node: Nearby, run: Spilling) -> Pieces:
    """Each batch with the rows next to it. Many of them (a long window) are held together."""
    rows = run.numbered(run.pieces(node.input), node.label())
    needed = read_columns(node, node.exprs)
    edges = rows.edges
    before = [(max(0, start - node.before), start) for start in edges[:-1]]
    after = [(end, min(edges[-1], end + node.after)) for end in edges[1:]]
    lead, trail = (_of_others(rows, wanted, needed, node, run) for wanted in (before, after))

    def frames() -> Iterator[pl.DataFrame]:
        behind, waiting = lead, _Ahead(rows.kept.batches())
        for batch in waiting:
            base = batch.select(needed)
            ahead = concat([base.clear(), *(part.select(needed) for part in waiting.next_rows(node.after)), trail])
            near = concat([behind, base, ahead.head(node.after)])
            found = near.lazy().select(*node.exprs).slice(behind.height, base.height).collect()
            yield batch.with_columns(found.get_columns())
            behind = concat([behind, base]).tail(node.before)

    return of_frames(frames, node.schema, again=True, placement=rows.kept.pieces.placement)


class _Ahead:
    """Batches one after another, and a look at those that follow."""

    def __init__(self, batches: Iterator[pl.DataFrame]) -> None:
        self._batches = batches
        self._seen: list[pl.DataFrame] = []

    def __iter__(self) -> Iterator[pl.DataFrame]:
        while self.next_rows(1):
            yield self._seen.pop(0)

    def next_rows(self, rows: int) -> list[pl.DataFrame]:
        """So many rows at the least, if there are."""
        while sum(batch.height for batch in self._seen) < rows:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._seen.append(batch)
        return list(self._seen)


def _of_others(
    rows: context.Numbered, wanted: Sequence[tuple[int, int]], needed: list[str], node: Nearby, run: Spilling
) -> pl.DataFrame:
    """The rows numbered as each rank wants them: this one's."""

    def parts() -> list[pl.DataFrame]:
        found: list[list[pl.DataFrame]] = [[] for _ in wanted]
        empty = rows.kept.pieces.empty.select(needed)
        if any(start < end for start, end in wanted):
            first = rows.edges[run.comm.rank]
            for batch in rows.kept.batches():
                for index, span in enumerate(wanted):
                    if (part := between(batch.select(needed), first, span)).height:
                        found[index].append(part)
                first += batch.height
        return [concat([empty, *some]) for some in found]

    pieces, _ = together(run.comm, f"choosing rows for {node.label()}", parts, lambda _: None)
    return exchange(pieces, run.comm, node.label())


def carried(node: Carried, run: Spilling) -> Pieces:
    """Each batch as if it were a rank: the last values of all tell it with what to begin."""
    rows = run.numbered(run.pieces(node.input), node.label())
    steps = [Carry(expression, node) for expression in node.exprs]

    def last_values() -> pl.DataFrame:
        empty = rows.kept.pieces.empty.select(step.summary for step in steps)
        return concat([empty.clear(), *(batch.select(step.summary for step in steps) for batch in rows.kept.batches())])

    own, facts = together(run.comm, f"computing {node.label()}", last_values, lambda found: found.height)
    ends = replicate(own, run.comm, node.label())

    def frames() -> Iterator[pl.DataFrame]:
        for number, batch in enumerate(rows.kept.batches(), start=sum(facts[: run.comm.rank])):
            yield batch.with_columns(step.column(batch, ends[step.name], number) for step in steps)

    return of_frames(frames, node.schema, again=True, placement=rows.kept.pieces.placement)


def _added(node: Around) -> dict[str, pl.DataType]:
    return {item.meta.output_name(): node.schema[item.meta.output_name()] for item in node.exprs}
