"""One run of a plan within a memory budget: its room, its spill files, and what several operators read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from deeprc.bridge import new_spill_folder
from deeprc.communicator import Communicator
from deeprc.table.exchange import together
from deeprc.table.plan import Node, Source
from deeprc.table.spill.file import SpillFile
from deeprc.table.spill.memory import Room
from deeprc.table.spill.pieces import Kept, Pieces, keep
from deeprc.table.spill.rounds import Buckets, Route, exchange_in_rounds

_MOST_BUCKETS = 256
_BUCKETS_OF_UNKNOWN = 32


@dataclass(frozen=True)
class Spilling:
    """What the operators of one run share. `shared` are the nodes that several of them read, kept when first run."""

    comm: Communicator
    room: Room
    folder: Path
    pieces_of: Callable[[Node, Spilling], Pieces]
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

    def exchange(self, pieces: Pieces, route: Route, operator: str, room: Room | None = None) -> Buckets:
        """Send the rows where `route` says, in rounds; what arrives is in buckets on disk. Collective.

        `room` is less than this run's where `route` takes much beside the rows.
        """
        buckets = together(
            self.comm, f"spilling for {operator}", lambda: Buckets(self.new_file(), pieces.empty), lambda _: None
        )[0]
        return exchange_in_rounds(pieces.batches(room or self.room), route, buckets, self.comm, operator)

    def bucket_count(self, nodes: Sequence[Node]) -> int:
        """How many buckets a rank's share of these tables should be in, the same on all ranks."""
        sizes = [self.expected_bytes(node) for node in nodes]
        wanted = _BUCKETS_OF_UNKNOWN
        if all(size is not None for size in sizes):
            share = sum(size for size in sizes if size is not None) / self.comm.size
            # Half as many bytes as a bucket may have: hashes and estimates are not even.
            wanted = min(_MOST_BUCKETS, max(1, int(2 * share / self.room.bucket) + 1))
        # One rank may know what another does not.
        return max(self.comm.all_gather(wanted))


def nothing(schema: pl.Schema) -> Pieces:
    return Pieces(schema, lambda: iter([pl.LazyFrame(schema=schema)]), again=True)
