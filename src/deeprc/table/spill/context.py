"""One run of a plan within a memory budget: its room, its spill files, and what several operators read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import polars as pl

from deeprc.communicator import Communicator
from deeprc.table.exchange.exchange import together
from deeprc.table.files.statistics import Estimate, widths
from deeprc.table.operators.shuffle import ROW_NUMBER
from deeprc.table.plan.nodes import Node, Source
from deeprc.table.plan.placement import Placement
from deeprc.table.spill.file import SpillFile
from deeprc.table.spill.memory import Room
from deeprc.table.spill.pieces import Kept, Pieces, keep, of_frames
from deeprc.table.spill.rounds import Buckets, Route, exchange_in_rounds, sort_into_buckets
from deeprc.workspace import new_spill_folder

_MOST_BUCKETS = 256
_BUCKETS_OF_UNKNOWN = 32


@dataclass(frozen=True)
class Spilling:
    """What the operators of one run share. `shared` are the nodes that several of them read, kept when first run.

    `whole_of` runs an operator as it is without a budget, over its inputs in files.
    """

    comm: Communicator
    room: Room
    folder: Path
    pieces_of: Callable[[Node, Spilling], Pieces]
    whole_of: Callable[[Node, Spilling], Pieces]
    expected_bytes: Callable[[Node], float | None]
    shared: frozenset[int] = frozenset()
    done: dict[int, Pieces] = field(default_factory=dict)
    files: list[SpillFile] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def pieces(self, node: Node) -> Pieces:
        if id(node) not in self.shared:
            return self.pieces_of(node, self)
        if id(node) not in self.done:
            made = self.pieces_of(node, self)
            # A source is read again as well as its copy would be.
            self.done[id(node)] = made if isinstance(node, Source) else self.keep(made, node.label()).pieces
        return self.done[id(node)]

    def in_memory(self, node: Node) -> Pieces:
        """The operator as it is without a budget: it holds what it then holds. Collective."""
        return self.whole_of(node, self)

    def new_file(self) -> SpillFile:
        self.files.append(SpillFile(self.folder))
        return self.files[-1]

    def new_folder(self) -> Path:
        """For files that need a name: what Polars is to scan."""
        self.folders.append(new_spill_folder())
        return self.folders[-1]

    def close(self) -> None:
        """Remove all that was spilled."""
        for file in self.files:
            file.close()
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def numbered(self, pieces: Pieces, doing: str) -> Numbered:
        """Keep the rows, and know which numbers they have in the whole table. Collective."""
        kept, facts = self.kept(pieces, doing)
        return Numbered(kept, tuple(rows for rows, _ in facts), sum(size for _, size in facts), self.comm.rank)

    def keep(self, pieces: Pieces, doing: str) -> Kept:
        """Compute this rank's pieces into a file; if one rank fails, all do. Collective."""
        return self.kept(pieces, doing)[0]

    def kept(self, pieces: Pieces, doing: str) -> tuple[Kept, list[tuple[int, int]]]:
        """As `keep`, and (rows, bytes) of every rank's."""
        return together(
            self.comm,
            f"computing its part for {doing}",
            lambda: keep(pieces, self.room, self.new_file()),
            lambda kept: (kept.rows, kept.bytes),
        )

    def exchange(
        self, pieces: Pieces, route: Route, operator: str, room: Room | None = None, *, moves: bool = True
    ) -> Buckets:
        """Send the rows where `route` says, in rounds; what arrives is in buckets on disk. Collective.

        `room` is less than this run's where `route` takes much beside the rows. Without `moves` all rows are on the
        ranks where they belong: each rank sorts its own into buckets.
        """
        batches = pieces.batches(room or self.room)

        def begun() -> Buckets:
            buckets = Buckets(self.new_file(), pieces.empty)
            return buckets if moves else sort_into_buckets(batches, route, buckets, self.comm)

        buckets, _ = together(self.comm, f"spilling for {operator}", begun, lambda _: None)
        return exchange_in_rounds(batches, route, buckets, self.comm, operator) if moves else buckets

    def bucket_count(self, nodes: Sequence[Node]) -> int:
        """How many buckets a rank's share of these tables should be in, the same on all ranks."""
        sizes = [self.expected_bytes(node) for node in nodes]
        wanted = _BUCKETS_OF_UNKNOWN
        if all(size is not None for size in sizes):
            wanted = self.buckets_of(sum(size for size in sizes if size is not None))
        # One rank may know what another does not.
        return max(self.comm.all_gather(wanted))

    def buckets_of(self, size: float) -> int:
        """How many buckets a rank's share of so many bytes should be in."""
        # Half as many bytes as a bucket may have: hashes and estimates are not even.
        return min(_MOST_BUCKETS, max(1, int(2 * size / self.comm.size / self.room.bucket) + 1))


@dataclass(frozen=True, eq=False)
class StoredSource(Source):
    """Rows that this run has in a file, of which whole batches are read."""


@dataclass(frozen=True)
class Numbered:
    """A rank's rows on disk, `heights` of all ranks' and their `bytes`."""

    kept: Kept
    heights: tuple[int, ...]
    bytes: int
    rank: int

    @property
    def edges(self) -> list[int]:
        """The number of each rank's first row, and that of all rows."""
        return list(accumulate(self.heights, initial=0))

    def pieces(self, columns: Sequence[str], placement: Placement = None) -> Pieces:
        """Some columns, and the number of each row in the whole table."""

        def frames() -> Iterator[pl.DataFrame]:
            start = self.edges[self.rank]
            for batch in self.kept.batches():
                numbers = pl.int_range(start, start + batch.height, dtype=pl.Int64, eager=True)
                yield batch.select(columns).with_columns(numbers.alias(ROW_NUMBER))
                start += batch.height

        known = self.kept.pieces.schema
        schema = pl.Schema({**{name: known[name] for name in columns}, ROW_NUMBER: pl.Int64()})
        views = len(columns) < len(known)
        return replace(of_frames(frames, schema, again=True, placement=placement), views=views)

    def bytes_of(self, columns: Sequence[str]) -> float:
        """About how many bytes `pieces` of these columns have on all ranks together."""
        each = widths(self.kept.pieces.schema)
        part = sum(each[name] for name in columns) / max(1.0, sum(each.values()))
        return self.bytes * min(1.0, part) + 8.0 * sum(self.heights)

    def source(self, description: str, *, numbers: bool = False) -> Source:
        """The rows as a node of a plan, which knows how many they are; with their numbers, if these are asked for."""
        names = self.kept.pieces.schema.names()
        pieces = self.pieces(names) if numbers else self.kept.pieces
        each, total = widths(pieces.schema), float(sum(self.heights))
        scale = max(1.0, (self.bytes + 8.0 * total * numbers) / max(1.0, total * sum(each.values())))
        known = Estimate(total, {name: width * scale for name, width in each.items()}, counted=True)
        return StoredSource(
            description, pieces.schema, unread, statistics=lambda: known, portions=lambda *_: pieces.frames
        )


def unread(comm: Communicator) -> pl.LazyFrame:
    """The `load` of a source that is read in portions."""
    raise TypeError("this source is read in portions")
