"""Methods that compute: the rows in memory, as a dataset, as files."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from deeprc.bridge import Dataset
from deeprc.errors import SpecError
from deeprc.table.exchange import gather, replicate
from deeprc.table.explain import explain
from deeprc.table.methods.planned import Planned
from deeprc.table.writing import prepare, write_part


class Output(Planned):
    """What leaves a table."""

    def collect(self) -> pl.DataFrame:
        """Compute; return this rank's rows. Collective."""
        return self._part("collecting")

    def gather(self, root: int | None = None) -> pl.DataFrame:
        """Compute; return all ranks' rows in order, on every rank or on `root` alone (no rows elsewhere)."""
        if root is not None and not 0 <= root < self.comm.size:
            raise SpecError(f"root={root} is not a rank: there are {self.comm.size}, from 0")
        part = self._part("gathering")
        if self.comm.size == 1:
            return part
        if root is None:
            return replicate(part, self.comm, "GATHER")
        return gather(part, self.comm, "GATHER", root)

    def persist(self, name: str = "table") -> Dataset:
        """Compute; write each rank's rows as a part of one dataset, which every rank gets. Collective."""
        return Dataset.from_polars(self._part(f"persisting {name!r}"), name=name, comm=self.comm)

    def write_parquet(self, directory: str | Path) -> list[Path]:
        """Compute; write one file for each rank into `directory`; return all their paths, in order. Collective.

        Raises:
            DataError: the directory holds Parquet files that would stay beside the table's; nothing was computed.
        """
        folder = Path(directory)
        prepare(folder, self.comm)
        return write_part(self._part(f"writing {folder}"), folder, self.comm)

    def explain(self) -> str:
        """The plan as text: operators, what each exchange moves, and where each reads from."""
        return explain(self.node, self.comm.size)
