"""A dataset: what one task leaves for others, passed by reference and mapped by whoever reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from deeprc.bridge.ledger import Ledger, LedgerEntry
from deeprc.bridge.manifest import read_manifest, write_manifest
from deeprc.bridge.parts import Part, check_part, new_path, share, write_part
from deeprc.bridge.tables import arrow_table, polars_frame
from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Dataset:
    """Rows in the Arrow files `parts`, in order, listed in the file `manifest`.

    A dataset holds paths and no data: it costs nothing to pass to another task, and its pickle is small.
    """

    name: str
    parts: tuple[Part, ...]
    manifest: str
    _ledger: Ledger = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ledger", Ledger(self.name))

    def __reduce__(self) -> tuple[Any, ...]:
        """The ledger stays behind: it tells of this process."""
        return Dataset, (self.name, self.parts, self.manifest)

    @classmethod
    def from_polars(
        cls, frame: pl.DataFrame | pl.LazyFrame, *, name: str = "dataset", comm: Communicator | None = None
    ) -> Dataset:
        """Write a frame below `dataset_root()`.

        With a communicator it is collective: every rank writes its rows as one part, and gets the dataset of
        all parts, in rank order. All ranks need the same columns, and a root that all of them see.

        Raises:
            DataError: a file could not be written, or the ranks' columns differ; on all ranks alike.
        """
        comm = comm or SoloCommunicator()
        outcomes = comm.all_gather(_attempt(frame, name, comm.rank))
        if failures := _failures(outcomes):
            mine = outcomes[comm.rank]
            if isinstance(mine, tuple):
                Path(mine[0].path).unlink(missing_ok=True)
            raise DataError("; ".join(failures))
        parts = tuple(outcome[0] for outcome in outcomes if isinstance(outcome, tuple))
        return _published(comm, name, parts)

    @classmethod
    def open(cls, manifest: str | Path) -> Dataset:
        """Open a dataset by the path of its manifest.

        Raises:
            DataError: the manifest is missing or damaged, or a part is missing or truncated.
        """
        path = Path(manifest).absolute()
        name, parts = read_manifest(path)
        for part in parts:
            check_part(part)
        return cls(name, parts, str(path))

    @classmethod
    def merge(cls, datasets: Sequence[Dataset]) -> Dataset:
        """One dataset of all parts, in order, each once: what ranks return becomes the task's result.

        Raises:
            DataError: there is none to merge, or their columns differ.
        """
        if not datasets:
            raise DataError("merge needs at least one dataset")
        first = datasets[0]
        parts = tuple(dict.fromkeys(part for dataset in datasets for part in dataset.parts))
        if parts == first.parts:
            return first
        for dataset in datasets[1:]:
            if dataset.schema != first.schema:
                raise DataError(_different(first.name, first.schema, dataset.name, dataset.schema))
        path = new_path(first.name, ".json", Path(first.manifest).parent)
        write_manifest(path, first.name, parts, first.schema)
        return cls(first.name, parts, str(path))

    def part(self, rank: int, size: int) -> Dataset:
        """What `rank` of `size` reads: one whole part where each rank has one, else an even share of the rows.

        Raises:
            DataError: `rank` is not in [0, size).
        """
        if not 0 <= rank < size:
            raise DataError(f"rank {rank} is none of the {size} ranks 0 to {size - 1}")
        mine = Dataset(self.name, share(self.parts, rank, size), self.manifest)
        object.__setattr__(mine, "_ledger", self._ledger)
        return mine

    @property
    def schema(self) -> pl.Schema:
        """Columns and Polars types, read from the first part.

        Raises:
            DataError: the file is missing or truncated.
        """
        check_part(self.parts[0])
        return pl.Schema(pl.read_ipc_schema(self.parts[0].path))

    @property
    def num_rows(self) -> int:
        return sum(part.num_rows for part in self.parts)

    @property
    def num_bytes(self) -> int:
        """Size of the files that hold the parts."""
        return sum({part.path: part.num_bytes for part in self.parts}.values())

    def scan(self) -> pl.LazyFrame:
        """The rows as a lazy frame: Polars reads only what the query needs.

        Raises:
            DataError: a part is missing or truncated.
        """
        for part in self.parts:
            check_part(part)
        return pl.concat(
            [pl.scan_ipc(part.path, glob=False).slice(part.first_row, part.num_rows) for part in self.parts]
        )

    def to_polars(self) -> pl.DataFrame:
        """The rows as a frame on the mapped files, with the very types that were written.

        Raises:
            DataError: a part is missing, truncated or damaged.
        """
        frame, entries = polars_frame(self.parts)
        self._ledger.add(entries)
        return frame

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table on the mapped files, one chunk for each part.

        Raises:
            DataError: a part is missing, truncated or damaged, or a column has a type that pyarrow lacks
                (128-bit integers).
        """
        table, entries = arrow_table(self.parts)
        self._ledger.add(entries)
        return table

    def ledger(self) -> list[LedgerEntry]:
        """What this process's conversions of the dataset shared and what they copied, in order."""
        return list(self._ledger.entries)


def _attempt(frame: pl.DataFrame | pl.LazyFrame, name: str, rank: int) -> tuple[Part, pl.Schema] | str:
    """This rank's part, or what went wrong: the other ranks wait to hear either."""
    try:
        collected = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
        return write_part(collected, name, rank), collected.schema
    except (DataError, pl.exceptions.PolarsError) as error:
        return f"rank {rank}: {error}"


def _failures(outcomes: Sequence[tuple[Part, pl.Schema] | str]) -> list[str]:
    failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
    schemas = [outcome[1] for outcome in outcomes if isinstance(outcome, tuple)]
    if not failures:
        failures = [
            _different("rank 0", schemas[0], f"rank {rank}", schema)
            for rank, schema in enumerate(schemas)
            if schema != schemas[0]
        ]
    return failures


def _different(one: str, schema: pl.Schema, other: str, other_schema: pl.Schema) -> str:
    return (
        f"the parts of a dataset need the same columns: {one} has {dict(schema)}, {other} has "
        f"{dict(other_schema)}. Select and cast to the same columns first"
    )


def _published(comm: Communicator, name: str, parts: tuple[Part, ...]) -> Dataset:
    """Rank 0 writes the manifest; the others hear its path only once it is there."""
    outcome: tuple[str, bool] | None = None
    if comm.rank == 0:
        path = new_path(name, ".json")
        try:
            write_manifest(path, name, parts, pl.Schema(pl.read_ipc_schema(parts[0].path)))
            outcome = str(path), True
        except DataError as error:
            outcome = str(error), False
    heard = comm.broadcast(outcome)
    assert heard is not None
    text, written = heard
    if not written:
        Path(parts[comm.rank].path).unlink(missing_ok=True)
        raise DataError(text)
    return Dataset(name, parts, text)
