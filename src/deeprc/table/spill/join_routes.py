"""Which bucket of which rank a join's rows go to; keys that many rows have are spread over all ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import polars as pl

from deeprc.communicator import Communicator
from deeprc.table.exchange.exchange import together
from deeprc.table.exchange.partition import key_hashes
from deeprc.table.operators.skew import (
    Sample,
    Spread,
    as_series,
    find_heavy_keys,
    null_keys,
    sample_keys,
)
from deeprc.table.operators.skew_warning import Shares, warn_of_heavy_keys
from deeprc.table.plan.nodes import Join
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.pieces import Pieces, of_frames
from deeprc.table.spill.rounds import Parcel, Route


class Heavy(NamedTuple):
    """Keys of which the rows are spread, and what the samples say of them."""

    spread: Spread
    samples: tuple[Sample, Sample] | None = None


NO_HEAVY_KEYS = Heavy(Spread())


def heavy_keys(node: Join, left: Pieces, right: Pieces, run: Spilling) -> tuple[Heavy, Pieces, Pieces]:
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
    samples = lefts[0], rights[0]
    return Heavy(find_heavy_keys(*samples, node, run.comm, warns=False), samples), lefts[1], rights[1]


@dataclass
class Routing:
    """By hash into `count` buckets. Three more are for rows that match nothing, which stay on their rank, and for the
    keys of which the left side is spread and the right one copied, or the other way round. It counts what it sees."""

    node: Join
    spread: Spread
    ordinary: Route
    count: int
    comm: Communicator
    is_left: bool
    rows: int = 0
    nulls: int = 0
    of_key: Counter[int] = field(default_factory=Counter)

    def route(self, batch: pl.DataFrame) -> list[Parcel]:
        keys = self.node.left_on if self.is_left else self.node.right_on
        own, other = (self.count + 1, self.count + 2) if self.is_left else (self.count + 2, self.count + 1)
        parcels = []
        self.rows += batch.height
        nulls = null_keys(batch, keys, self.node)
        if nulls.any():
            self.nulls += int(nulls.sum())
            parcels.append(Parcel(self.comm.rank, self.count, batch.filter(nulls)))
            batch = batch.filter(~nulls)
        if self.spread.left or self.spread.right:
            mine, theirs = self.spread.left, self.spread.right
            if not self.is_left:
                mine, theirs = theirs, mine
            hashes = key_hashes(batch, keys)
            self._counted(hashes.filter(hashes.is_in(as_series(mine | theirs))))
            turn, everywhere = hashes.is_in(as_series(mine)), hashes.is_in(as_series(theirs))
            for rank in range(self.comm.size):
                heavy = batch.filter(turn).gather_every(self.comm.size, rank)
                parcels.append(Parcel((rank + self.comm.rank) % self.comm.size, own, heavy))
            copies = batch.filter(everywhere)
            parcels.extend(Parcel(rank, other, copies) for rank in range(self.comm.size))
            batch = batch.filter(~(turn | everywhere))
        return [*parcels, *self.ordinary(batch)]

    def _counted(self, heavy: pl.Series) -> None:
        counts = heavy.value_counts()
        self.of_key.update(dict(zip(counts[heavy.name], counts["count"], strict=True)))


def warn_and_count_nulls(node: Join, heavy: Heavy, routes: Sequence[Routing], run: Spilling) -> tuple[int, int]:
    """Warn of heavy keys with their counted shares; return how many rows of each side can match nothing. Collective."""
    seen = run.comm.all_gather([(side.rows, side.nulls, side.of_key) for side in routes])
    if heavy.samples is not None and (keys := heavy.spread.left | heavy.spread.right):
        totals = [max(1, sum(rank[side][0] for rank in seen)) for side in (0, 1)]
        shares = {
            key: Shares(*(sum(rank[side][2][key] for rank in seen) / totals[side] for side in (0, 1))) for key in keys
        }
        warn_of_heavy_keys(shares, heavy.samples, node, run.comm, counted=True)
    left, right = (sum(rank[side][1] for rank in seen) for side in (0, 1))
    return left, right
