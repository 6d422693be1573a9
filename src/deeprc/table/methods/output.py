"""Methods that compute: the rows in memory, for other libraries, as a dataset, as files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from numpy.typing import NDArray

from deeprc.bridge import Dataset
from deeprc.errors import DataError, SpecError
from deeprc.table.engines import Engine
from deeprc.table.exchange.exchange import gather, replicate
from deeprc.table.explain.explain import explain
from deeprc.table.files.writing import CSV, IPC, NDJSON, PARQUET, Format, Part, Target, in_folders, write_table
from deeprc.table.methods.planned import Planned
from deeprc.table.spill.stored import on_disk, on_disk_in_folders
from deeprc.table.spill.whole import warn_of_gathered
from deeprc.workspace import memory_budget

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import torch


class Output(Planned):
    """What leaves a table. All of these are collective: every rank calls them, in the same order."""

    def collect(self, *, engine: Engine = "streaming") -> pl.DataFrame:
        """Compute; return this rank's rows.

        Args:
            engine: which of Polars' engines computes each rank's part of a stage: "streaming", "in-memory" or "gpu".
                Rows travel between ranks from host memory in any case.

        Raises:
            SpecError: there is no such engine.
            ResourceError, MissingDependencyError: a rank sees no GPU, or Polars' GPU engine is not installed;
                nothing has run then.
        """
        return self._part("collecting", engine)

    def gather(self, root: int | None = None, *, engine: Engine = "streaming") -> pl.DataFrame:
        """Compute; return all ranks' rows in order, on every rank or on `root` alone (no rows elsewhere)."""
        if root is not None and not isinstance(root, int):
            raise SpecError(
                "gather(root) brings all rows together; for rows of some numbers use with_row_index and filter"
            )
        if root is not None and not 0 <= root < self.comm.size:
            raise SpecError(f"root={root} is not a rank: there are {self.comm.size}, from 0")
        part = self._part("gathering", engine)
        if self.comm.size == 1:
            return part
        warn_of_gathered(part, self.comm)
        if root is None:
            return replicate(part, self.comm, "GATHER")
        return gather(part, self.comm, "GATHER", root)

    def persist(self, name: str = "table", *, engine: Engine = "streaming") -> Dataset:
        """Compute; write each rank's rows as a part of one dataset, which every rank gets.

        Of a table larger than the task's memory each rank writes several parts.
        """
        if memory_budget() is None:
            return Dataset.from_polars(self._part(f"persisting {name!r}", engine), name=name, comm=self.comm)
        with self._opened(f"persisting {name!r}", engine) as rows:
            if isinstance(rows, pl.DataFrame):
                return Dataset.from_polars(rows, name=name, comm=self.comm)
            return Dataset.from_batches(rows, self.schema, name=name, comm=self.comm)

    def to_arrow(self, *, gathered: bool = False) -> pa.Table:
        """Compute; this rank's rows, or all ranks' in order on every rank, as `polars.DataFrame.to_arrow`."""
        return self._rows(gathered).to_arrow()

    def to_pandas(self, *, gathered: bool = False) -> pd.DataFrame:
        """Compute; this rank's rows, or all ranks' in order on every rank, as `polars.DataFrame.to_pandas`."""
        return self._rows(gathered).to_pandas()

    def to_numpy(self, *, gathered: bool = False) -> dict[str, NDArray[Any]]:
        """Compute; one array a column, of this rank's rows or of all ranks', as `polars.Series.to_numpy`."""
        return {column.name: column.to_numpy() for column in self._rows(gathered)}

    def to_torch(self, *, gathered: bool = False) -> dict[str, torch.Tensor]:
        """Compute; one tensor a column, of this rank's rows or of all ranks'.

        Raises:
            DataError: a column has no tensor form, or holds nulls; on all ranks alike, before anything is computed
                where its type says so.
        """
        unfit = [name for name, dtype in self.schema.items() if not (dtype.is_numeric() or dtype == pl.Boolean)]
        unfit += [name for name, dtype in self.schema.items() if dtype.is_decimal() or dtype in (pl.Int128, pl.UInt128)]
        if unfit:
            raise DataError(f"columns without a tensor form: {', '.join(unfit)}. Drop or cast them before to_torch")
        rows = self._rows(gathered)
        nulls = {name for names in self.comm.all_gather(_with_nulls(rows)) for name in names}
        if nulls:
            raise DataError(f"tensors have no nulls, columns {', '.join(sorted(nulls))} have: fill or drop them first")
        tensors = rows.to_torch("dict")
        assert isinstance(tensors, dict)
        return tensors

    def write_parquet(
        self, directory: str | Path, *, partition_by: Any = None, overwrite: bool = False, **options: Any
    ) -> list[Path]:
        """Compute; write one file for each rank into `directory`; return all their paths, in order.

        The folder appears when all ranks have written, or not at all. Files there with the same names are replaced,
        as a retry of a task asks for.

        Args:
            directory: a folder that all ranks see.
            partition_by: columns whose values become folders, as `year=2024/`; the files are without them.
            overwrite: replace any table that such a method wrote there.
            options: those of `polars.DataFrame.write_parquet`.

        Raises:
            DataError: the directory holds files that are not to be replaced (nothing was computed then), or a
                rank could not write; on all ranks alike, and no file is left.
        """
        return self._write(directory, PARQUET, partition_by, overwrite, options)

    def write_csv(
        self, directory: str | Path, *, partition_by: Any = None, overwrite: bool = False, **options: Any
    ) -> list[Path]:
        """As `write_parquet`, with the options of `polars.DataFrame.write_csv`; each file has the header."""
        return self._write(directory, CSV, partition_by, overwrite, options)

    def write_ipc(
        self, directory: str | Path, *, partition_by: Any = None, overwrite: bool = False, **options: Any
    ) -> list[Path]:
        """As `write_parquet`, in Arrow IPC files, with the options of `polars.DataFrame.write_ipc`."""
        return self._write(directory, IPC, partition_by, overwrite, options)

    def write_ndjson(
        self, directory: str | Path, *, partition_by: Any = None, overwrite: bool = False, **options: Any
    ) -> list[Path]:
        """As `write_parquet`, one JSON object a line, with the options of `polars.DataFrame.write_ndjson`."""
        return self._write(directory, NDJSON, partition_by, overwrite, options)

    def explain(self) -> str:
        """The plan as text: operators, what each exchange moves, where each reads from, estimated rows and bytes.

        Files are looked at for that (metadata, the first rows); nothing else is read, and no rank needs another.
        """
        return explain(self.node, self.comm.size)

    def _rows(self, gathered: bool) -> pl.DataFrame:
        return self.gather() if gathered else self.collect()

    def _write(
        self, directory: str | Path, form: Format, partition_by: Any, overwrite: bool, options: dict[str, Any]
    ) -> list[Path]:
        columns = () if partition_by is None else self._names(f"write {form.suffix}", _listed(partition_by))
        if len(columns) == len(self.columns) and columns:
            raise SpecError("partition_by leaves no column for the files: name fewer")
        folder = Path(directory).expanduser().absolute()
        target = Target(folder, form, columns, overwrite, options)
        if memory_budget() is None:
            return write_table(target, lambda: _lazy(self._part(f"writing {folder}"), columns), self.comm)
        with ExitStack() as stack:

            def stored() -> list[Part]:
                rows = stack.enter_context(self._opened(f"writing {folder}"))
                if isinstance(rows, pl.DataFrame):
                    return _lazy(rows, columns)
                if columns:
                    return stack.enter_context(on_disk_in_folders(rows, self.schema, columns, self.comm))
                return [("", stack.enter_context(on_disk(rows, self.schema, self.comm)))]

            return write_table(target, stored, self.comm)


def _lazy(rows: pl.DataFrame, columns: Sequence[str]) -> list[Part]:
    return [(folder, part.lazy()) for folder, part in in_folders(rows, columns)]


def _listed(columns: Any) -> Iterable[Any]:
    return columns if isinstance(columns, list | tuple) else (columns,)


def _with_nulls(rows: pl.DataFrame) -> list[str]:
    return [column.name for column in rows if column.null_count()]
