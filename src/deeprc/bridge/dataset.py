"""A dataset: what one task leaves for others, passed by reference and mapped by whoever reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from numpy.typing import NDArray

from deeprc.bridge.arrays import (
    checked_columns,
    entries,
    existing_columns,
    numpy_columns,
    tensorflow_dataset,
    torch_tensors,
)
from deeprc.bridge.columns import Converted
from deeprc.bridge.ledger import Ledger, LedgerEntry, Target
from deeprc.bridge.manifest import read_manifest, write_manifest
from deeprc.bridge.parts import Part, check_part, new_path, part_schema, share
from deeprc.bridge.tables import arrow_table, polars_frame
from deeprc.bridge.windows import Windows, WindowSpec
from deeprc.bridge.writing import different, write_batches_together, write_together
from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import tensorflow as tf
    import torch


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

    def __str__(self) -> str:
        parts = f"{len(self.parts)} part{'s' * (len(self.parts) != 1)}"
        return f"dataset {self.name!r}: {self.num_rows:,} rows in {parts}, {self.num_bytes:,} bytes"

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
        parts, manifest = write_together(frame, name, comm)
        return cls(name, parts, manifest)

    @classmethod
    def from_batches(
        cls,
        batches: Iterator[pl.DataFrame],
        schema: Mapping[str, pl.DataType],
        *,
        name: str = "dataset",
        comm: Communicator | None = None,
    ) -> Dataset:
        """As `from_polars`, for rows that come in batches of these columns: each becomes a part of its own.

        Raises:
            DataError: see `from_polars`; or what the batches raise, as text.
        """
        comm = comm or SoloCommunicator()
        parts, manifest = write_batches_together(batches, pl.DataFrame(schema=schema), name, comm)
        return cls(name, parts, manifest)

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
                raise DataError(different(first.name, first.schema, dataset.name, dataset.schema))
        path = new_path(first.name, ".json", Path(first.manifest).parent)
        write_manifest(path, first.name, parts, first.schema)
        return cls(first.name, parts, str(path))

    def part(self, rank: int, size: int) -> Dataset:
        """What `rank` of `size` reads: one whole part where each rank has one, else an even share of the rows.

        Its manifest stays that of the whole dataset.

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
            DataError: the file is missing, truncated or damaged.
        """
        return part_schema(self.parts[0])

    @property
    def num_rows(self) -> int:
        return sum(part.num_rows for part in self.parts)

    @property
    def num_bytes(self) -> int:
        """Size of the files that hold the parts."""
        return sum({part.path: part.num_bytes for part in self.parts}.values())

    def scan(self) -> pl.LazyFrame:
        """The rows as a lazy frame on the mapped files, as `to_polars`: a query reads from disk what it touches.

        Raises:
            DataError: a part is missing, truncated or damaged.
        """
        return self.to_polars().lazy()

    def to_polars(self, columns: Iterable[str] | None = None) -> pl.DataFrame:
        """The rows as a frame on the mapped files, with the very types that were written.

        Raises:
            DataError: an unknown column, or a part is missing, truncated or damaged.
        """
        names = None if columns is None else existing_columns(columns, self.schema)
        frame, told = polars_frame(self.parts, names)
        self._ledger.add(told)
        return frame

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table on the mapped files, one chunk for each part.

        Raises:
            DataError: a part is missing, truncated or damaged, or a column has a type that pyarrow lacks
                (128-bit integers).
        """
        table, told = arrow_table(self.parts)
        self._ledger.add(told)
        return table

    def to_numpy(self, columns: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
        """Columns as arrays of shape (row,), an Array column as (row, width).

        A column of numbers, dates, times or an Enum without nulls in one part is the mapped file itself, any
        other a copy: `deeprc.bridge.columns` says what becomes of which type and of nulls. Arrays may be
        changed in place: the mapping is copy-on-write, and the file stays as it is.

        Raises:
            DataError: an unknown column, a type without an array form, or a part that is missing, truncated or
                damaged.
        """
        converted = self._arrays(columns)
        self._ledger.add(entries(converted, "numpy"))
        return {name: array for name, (array, _) in converted.items()}

    def to_torch(self, columns: Iterable[str] | None = None) -> dict[str, torch.Tensor]:
        """Columns as tensors on the memory that `to_numpy` gives: shared, copied and refused alike.

        Raises:
            DataError: see `to_numpy`.
            MissingDependencyError: torch is not installed.
        """
        converted = self._arrays(columns)
        tensors = torch_tensors(converted)
        self._ledger.add(entries(converted, "torch"))
        return tensors

    def to_tf(self, columns: Iterable[str] | None = None, batch_size: int | None = None) -> tf.data.Dataset:
        """A `tf.data.Dataset` over rows, in order: dicts of scalars, or of tensors (batch,) with `batch_size`.

        Its source are the arrays of `to_numpy`. TensorFlow works on the mapped memory itself where that begins
        at a multiple of 64 bytes, which depends on the lengths of the file's headers, and on a copy otherwise.
        Elements and batches are always cut out as copies, as tf.data does.

        Raises:
            DataError: see `to_numpy`; or `batch_size` is less than 1.
            MissingDependencyError: tensorflow is not installed.
        """
        if batch_size is not None and batch_size < 1:
            raise DataError(f"batch_size must be 1 or more, not {batch_size}")
        dataset, converted = tensorflow_dataset(self._arrays(columns))
        self._ledger.add(entries(converted, "tensorflow"))
        return dataset if batch_size is None else dataset.batch(batch_size)

    def windows(
        self,
        *,
        target: str,
        lookback: int,
        horizon: int,
        features: str | Sequence[str] = (),
        by: str | Sequence[str] = (),
        time: str | None = None,
        stride: int = 1,
        rank: int = 0,
        size: int = 1,
        dtype: str = "float32",
    ) -> Windows:
        """Windows of a time series for training: `lookback` rows of the features, then `horizon` of the target.

        A window never crosses a change of group or a gap in `time`, and has no null or NaN in what it reads.

        Args:
            target: the column to predict; numeric or boolean.
            features: the columns to predict from, in this order; none means the target's own past.
            by: columns that tell one series from another.
            time: integers, dates or times; rows are put in its order within each group. A step that is not the
                commonest is a gap; steps are counted in calendar months where that leaves fewer gaps.
            stride: rows between the starts of two windows of one gapless stretch.
            rank, size: this rank's place among those that train together; each gets as many windows.
            dtype: of the batches: "float32" or "float64".

        Raises:
            DataError: an unknown or non-numeric column, a length less than 1, fewer windows than ranks (says how
                many rows in a row are needed), or two rows of a group with one time.
        """
        spec = WindowSpec(target, lookback, horizon, _names(features), _names(by), time, stride, rank, size, dtype)
        return Windows(self, spec)

    def note_copies(self, bytes_by_column: Mapping[str, int], *, to: Target, reason: str) -> None:
        """Enter into the ledger what a reader of the dataset copied itself, so that the ledger holds every copy."""
        self._ledger.add(LedgerEntry(column, to, "copied", size, reason) for column, size in bytes_by_column.items())

    def ledger(self) -> list[LedgerEntry]:
        """What this process's conversions of the dataset shared and what they copied, in order."""
        return list(self._ledger.entries)

    def _arrays(self, columns: Iterable[str] | None) -> dict[str, Converted]:
        schema = self.schema
        return numpy_columns(self.parts, checked_columns(columns, schema), schema)


def _names(columns: str | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)
