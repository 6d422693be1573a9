"""Sort in buckets: ranges of the order between sampled splitters, each sorted when its turn comes.

As in memory a row's (keys, rank, number) is unlike any other's, so neither skew nor ties make a range large, and
equal rows keep their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from deeprc.table.exchange.exchange import concat, replicate
from deeprc.table.operators.sort import Order, chosen_splitters
from deeprc.table.plan.nodes import Sort
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.grace import Side
from deeprc.table.spill.memory import Room
from deeprc.table.spill.pieces import Pieces, of_frames
from deeprc.table.spill.rounds import Parcel

_SAMPLES_PER_BATCH = 512
_NUMBERS_BYTES = 17
_RANK, _ROW, _WEIGHT, _SPLITTER = "__rank__", "__position__", "__weight__", "__splitter__"


def sort(node: Sort, run: Spilling) -> Pieces:
    """Rank 0 has the first ranges; a rank's ranges are its pieces, in order."""
    sampler = _Sampler(node, run.comm.rank, Order.of(node.descending, node.nulls_last))
    kept, facts = run.kept(sampler.watched(run.pieces(node.input), run), node.label())
    share = sum(size for _, size in facts) / run.comm.size
    count = min(256, int(2 * share / run.room.bucket) + 1)
    samples = replicate(concat(sampler.samples or [sampler.no_samples(node)]), run.comm, node.label())
    edges = chosen_splitters(samples, sampler.order, run.comm.size * count)
    # A row is sorted with its keys, which may be as wide as it, its rank and its number, and a mark.
    row_bytes = max(1, kept.bytes // max(1, kept.rows))
    room = Room(run.room.total * row_bytes // (2 * row_bytes + _NUMBERS_BYTES))
    arrived = run.exchange(kept.pieces, _Ranges(sampler, edges, count).route, node.label(), room)

    def frames() -> Iterator[pl.LazyFrame]:
        for number in range(count):
            # One sorted run for each batch of each rank, in the order of the table: a stable sort merges them.
            yield sampler.sorted(Side(arrived, number, node.by).whole()).lazy()

    return Pieces(node.schema, frames, again=True)


@dataclass
class _Sampler:
    """Computes keys; takes evenly spaced ones of each batch that passes."""

    node: Sort
    rank: int
    order: Order
    rows: int = 0
    samples: list[pl.DataFrame] = field(default_factory=list)

    def watched(self, pieces: Pieces, run: Spilling) -> Pieces:
        def frames() -> Iterator[pl.DataFrame]:
            for batch in pieces.batches(run.room):
                self._take(batch)
                yield batch

        return of_frames(frames, pieces.schema)

    def _take(self, batch: pl.DataFrame) -> None:
        step = max(1, batch.height // _SAMPLES_PER_BATCH)
        some = self.keys(batch, self.rows).gather_every(step)
        self.samples.append(some.with_columns(pl.lit(batch.height / some.height).alias(_WEIGHT)))
        self.rows += batch.height

    def keys(self, batch: pl.DataFrame, before: int) -> pl.DataFrame:
        """The batch's keys, and what tells equal ones apart; `before` is the number of its first row."""
        keys = batch.select(key.alias(name) for key, name in zip(self.node.by, self.order.names, strict=True))
        return keys.with_columns(
            pl.lit(self.rank, dtype=pl.Int64).alias(_RANK),
            pl.int_range(before, before + batch.height, dtype=pl.Int64, eager=True).alias(_ROW),
        )

    def no_samples(self, node: Sort) -> pl.DataFrame:
        empty = self.keys(pl.DataFrame(schema=node.input.schema), 0)
        return empty.with_columns(pl.lit(1.0).alias(_WEIGHT))

    def sorted(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.sort(
            list(self.node.by),
            descending=list(self.node.descending),
            nulls_last=list(self.node.nulls_last),
            maintain_order=True,
        )


@dataclass
class _Ranges:
    """Cuts batches, which come in order, at the splitters: `count` ranges a rank."""

    sampler: _Sampler
    edges: pl.DataFrame
    count: int
    before: int = 0

    def route(self, batch: pl.DataFrame) -> list[Parcel]:
        keys = self.sampler.keys(batch, self.before).with_columns(pl.lit(False).alias(_SPLITTER))
        self.before += batch.height
        edges = self.edges.with_columns(pl.lit(True).alias(_SPLITTER))
        both = self.sampler.order.sort(pl.concat([keys, edges]), _RANK, _ROW, _SPLITTER)
        # A splitter is a row of the table, and comes right after it: that row is the last of a range.
        places = both[_SPLITTER].arg_true().to_list()
        cuts = [0, *(place - index for index, place in enumerate(places)), batch.height]
        rows = self.sampler.sorted(batch)
        parcels = []
        for index, start in enumerate(cuts[:-1]):
            if cuts[index + 1] > start:
                parcels.append(
                    Parcel(index // self.count, index % self.count, rows.slice(start, cuts[index + 1] - start))
                )
        return parcels
