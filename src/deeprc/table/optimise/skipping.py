"""What a filter leaves unread: files by the values in their folders' names, row groups by their statistics.

Ranks share the rows that are left, so that a filter by a column that the file is sorted by leaves each rank as much to
read. What is left out holds no row that satisfies all predicates (`outcomes.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import polars as pl

from deeprc.communicator import Communicator
from deeprc.table.exchange.exchange import together
from deeprc.table.files.files import Run, share_of_runs
from deeprc.table.files.footers import ROWS, group_statistics, largest, least, nulls
from deeprc.table.files.portions import Files, Portions, portions_of_runs
from deeprc.table.files.reading import folder_columns, folder_values, values_of_folders
from deeprc.table.files.row_groups import HARMLESS, OF_FOLDERS
from deeprc.table.files.statistics import Estimate
from deeprc.table.optimise.outcomes import may_hold

_MOST_RUNS = 256  # of one file: each is a scan of its own


@dataclass(frozen=True)
class Kept:
    """The rows of a file that have to be read, and how many of its row groups they are, if it could be looked into."""

    runs: Sequence[Run]
    groups: int = 0
    of: int = 0


@dataclass(frozen=True)
class Skipping:
    """The files of a scan, of which rows are wanted that `may_hold`, over statistics of some of their columns.

    `in_folders` are those of these columns that stand in the folders' names.
    """

    files: Files
    may_hold: pl.Expr
    in_files: pl.Schema
    in_folders: pl.Schema

    @property
    def by_groups(self) -> bool:
        """Whether files are looked into."""
        return self.files.reader.scan is pl.scan_parquet

    def load(self, comm: Communicator) -> pl.LazyFrame:
        """This rank's share of the rows that may be wanted. Collective."""
        some = self._some_files()
        if not some.names:
            return pl.LazyFrame(schema=self.files.schema)
        if not self.by_groups:
            return some.load(comm)
        mine = share_of_runs(self._runs(comm), comm)
        if not mine:
            return pl.LazyFrame(schema=self.files.schema)
        return pl.concat([self.files.reader.frame([run.file]).slice(run.start, run.rows) for run in mine])

    def portions(self, comm: Communicator, portion_bytes: int, statistics: Estimate | None) -> Portions:
        """As `load`, in portions of about `portion_bytes` of memory. Collective."""
        some = self._some_files()
        if not some.names:
            return lambda: iter([pl.LazyFrame(schema=self.files.schema)])
        if not self.by_groups:
            return some.portions(comm, portion_bytes, statistics)
        mine = share_of_runs(self._runs(comm), comm)
        return portions_of_runs(self.files.reader, mine, self.files.schema, portion_bytes, statistics)

    @cached_property
    def _kept(self) -> tuple[Sequence[str], Sequence[Kept]]:
        """The files that are left, and what of each, where they are looked into; asked of no other rank."""
        files = self._some_files().names
        return files, [self._of_file(file) for file in files] if self.by_groups and self.in_files else []

    def look(self, known: Estimate) -> Estimate:
        """How many rows are left, if files are looked into, and the bounds of what the filter reads of these."""
        files, kept = self._kept
        if files and not kept:
            return replace(known, rows=known.rows * len(files) / len(self.files.names), counted=False)
        rows = float(sum(run.rows for each in kept for run in each.runs))
        return replace(known, rows=rows, bounds=self.files.bounds(self.in_files, files, self._left_of))

    def _left_of(self, groups: pl.DataFrame, file: str) -> pl.DataFrame:
        return groups.filter(pl.Series(self._keeps(self._beside_folders(groups, file)), dtype=pl.Boolean))

    def in_words(self) -> str:
        """How much of the files is left, for people."""
        files, kept = self._kept
        said = [f"{len(files)} of {len(self.files.names)} files by their folders"] * bool(self.in_folders)
        if self.by_groups and self.in_files:
            groups = f"{sum(each.groups for each in kept)} of {sum(each.of for each in kept)} row groups"
            said.append(f"{groups} by their statistics")
        return ", ".join(said)

    def _runs(self, comm: Communicator) -> list[Run]:
        """The rows to read of all files, in order. Each file is looked at by one rank. Collective."""
        files = self._some_files().names
        _, everyone = together(
            comm,
            "reading the statistics of row groups",
            lambda: {place: self._of_file(files[place]).runs for place in range(comm.rank, len(files), comm.size)},
            lambda runs: runs,
        )
        by_file = {place: runs for part in everyone for place, runs in part.items()}
        return [run for place in range(len(files)) for run in by_file[place]]

    def _some_files(self) -> Files:
        """Those that their folders' names do not rule out."""
        if not self.in_folders:
            return self.files
        names = self.files.names
        try:
            keeps = self._keeps(self._of_folders(names))
        except pl.exceptions.PolarsError:  # The scan itself says what is wrong.
            return self.files
        return replace(self.files, names=tuple(name for name, kept in zip(names, keeps, strict=True) if kept))

    def _of_folders(self, files: Sequence[str]) -> pl.DataFrame:
        """What the names of its folders say of a row of each file."""
        texts = zip(*(folder_values(file, list(self.in_folders)) for file in files), strict=True)
        columns = [pl.Series(ROWS, [1] * len(files), dtype=pl.Int64)]
        for text, (name, dtype) in zip(map(pl.Series, texts), self.in_folders.items(), strict=True):
            values = values_of_folders(text.cast(pl.String), dtype)
            columns += [values.alias(bound) for bound in (least(name), largest(name))]
            columns.append(values.is_null().cast(pl.Int64).alias(nulls(name)))
        for name, dtype in self.in_files.items():
            unknown = pl.Series([None] * len(files), dtype=dtype)
            columns += [unknown.alias(least(name)), unknown.alias(largest(name))]
            columns.append(pl.Series(nulls(name), [None] * len(files), dtype=pl.Int64))
        return pl.DataFrame(columns)

    def _beside_folders(self, groups: pl.DataFrame, file: str) -> pl.DataFrame:
        """What the names of its folders say of the row groups of a file, beside what is known of them."""
        if not self.in_folders:
            return groups
        folders = self._of_folders([file])
        counts = [pl.col(nulls(name)) * pl.col(ROWS) for name in self.in_folders]
        return groups.join(folders.select(pl.exclude(groups.columns)), how="cross").with_columns(counts)

    def _keeps(self, groups: pl.DataFrame) -> Sequence[bool]:
        return groups.with_columns(self.may_hold.fill_null(value=True).alias(ROWS))[ROWS].to_list()

    def _of_file(self, file: str) -> Kept:
        import pyarrow as pa

        try:
            groups = group_statistics(self.files.reader.opener(file), self.in_files)
            keeps, heights = self._keeps(self._beside_folders(groups, file)), groups[ROWS].to_list()
        except (OSError, pa.ArrowException, pl.exceptions.PolarsError):  # What is wrong is said when rows are read.
            return Kept([Run(file, 0, self.files.reader.rows(file))])
        return Kept(_runs_of(file, heights, keeps), sum(keeps), len(keeps))


def _runs_of(file: str, heights: Sequence[int], keeps: Iterable[bool]) -> list[Run]:
    """Neighbours that are kept, as one; across the narrowest gaps too, where there would be very many."""
    runs: list[Run] = []
    start = 0
    for rows, kept in zip(heights, keeps, strict=True):
        if kept and runs and runs[-1].start + runs[-1].rows == start:
            runs[-1] = replace(runs[-1], rows=runs[-1].rows + rows)
        elif kept:
            runs.append(Run(file, start, rows))
        start += rows
    gaps = sorted(after.start - before.start - before.rows for before, after in pairwise(runs))
    narrow = gaps[-_MOST_RUNS] if len(gaps) >= _MOST_RUNS else 0
    merged = runs[:1]
    for run in runs[1:]:
        end = merged[-1].start + merged[-1].rows
        if run.start - end <= narrow:
            merged[-1] = replace(merged[-1], rows=run.start + run.rows - merged[-1].start)
        else:
            merged.append(run)
    return merged


def skipping(files: Files, predicates: Sequence[pl.Expr]) -> Skipping | None:
    """How to load rows that may satisfy all predicates, and fewer others; None where nothing tells them apart."""
    options = files.reader.options
    if files.limit is not None or any("://" in file for file in files.names):
        return None
    plain = options.keys() <= HARMLESS | OF_FOLDERS if files.reader.of_paths else not options.get("row_index_name")
    found = may_hold(predicates, files.schema) if plain else None
    if found is None:
        return None
    condition, columns = found
    folders = _in_folders(files) & columns
    if not folders and files.reader.scan is not pl.scan_parquet:
        return None
    in_folders = pl.Schema({name: files.schema[name] for name in files.schema if name in folders})
    in_files = pl.Schema({name: files.schema[name] for name in files.schema if name in columns - folders})
    return Skipping(files, condition, in_files, in_folders)


def _in_folders(files: Files) -> frozenset[str]:
    if not files.reader.of_paths:
        return frozenset(files.reader.folders)
    return frozenset(folder_columns(files.names)) if files.reader.options.get("hive_partitioning") else frozenset()
