"""Where tables come from: files that all ranks see, datasets of an earlier task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from deeprc.bridge import Dataset
from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import SpecError, valid_values
from deeprc.table.exchange.exchange import together
from deeprc.table.files.files import Source, expand
from deeprc.table.files.portions import Files, Portions, of_frame, rows_within
from deeprc.table.files.reading import Reader, Scan, folder_columns, folder_types
from deeprc.table.files.statistics import Estimate, of_bytes
from deeprc.table.files.statistics import of_files as statistics_of
from deeprc.table.optimise.skipping import skipping
from deeprc.table.plan import nodes as plan
from deeprc.table.schema import checked
from deeprc.table.table import Table

_MOST = 10_000  # columns of files, of which bounds are read to explain a plan
_SPLITS = ("auto", "rows", "bytes")


def scan_csv(source: Source, comm: Communicator | None = None, *, split: str = "auto", **options: Any) -> Table:
    """Read CSV files lazily; each rank gets a share of the rows, in order. Collective.

    Args:
        source: a path, a folder (with columns from the names of `name=value` folders in it), a pattern or a list of
            these; plain, or packed with gzip, zlib or zstd, or as a zip archive that holds one file. All ranks must
            see them.
        comm: the task's communicator; None reads all rows in this process.
        split: "rows" for even shares: each rank skips the lines before its own, which is quick where the file is in
            memory. "bytes": each rank reads its bytes alone, and as many rows as begin there; files that are packed,
            or whose quotes do not pair, and options that count or name rows, are split by rows nevertheless. "auto":
            by bytes where the ranks are on several machines and the files have 64 MiB or more, else by rows.
        options: those of `polars.scan_csv`; with a folder also `hive_partitioning` and `hive_schema`, as of
            `polars.scan_parquet`.

    Raises:
        DataError: a file does not exist, is empty, or is not what the options say; on all ranks alike. Where a row
            is found to be bad only when it is read, the error names the file and, if it is known, the line. A quote
            that is not in place, as one that is never closed, is looked for in all of a file before any of it is
            read (not with `ignore_errors`, nor over the network): Polars loses lines after it in a query that does
            not read its field. `quote_char=None` says that quotes are plain text.
    """
    suffixes = (".csv", ".csv.gz", ".csv.zst", ".csv.zip", ".tsv")
    return _scan(source, comm, pl.scan_csv, "CSV", suffixes, options, split)


def scan_parquet(source: Source, comm: Communicator | None = None, **options: Any) -> Table:
    """Read Parquet files lazily; each rank gets an even share of the rows, in order. Collective.

    A rank reads the row groups that hold rows of its share, and no others. What a filter rules out is left unread
    first, so that ranks share what is left evenly: files by the values in their folders' names, row groups by their
    statistics. Comparisons of columns with constants do so, `is_in`, `is_between`, `is_null`, `str.starts_with` and
    `dt.year`, and what `&`, `|` and `~` make of them; for numbers, truths, text, dates, times, durations and decimals.
    NaN is larger than any number, and files do not tell where it is: of floats `x > 5` rules nothing out, but
    `x.is_between(5, 9)` and `(x > 5) & x.is_not_nan()` do.

    Args:
        source: a path, a folder (with columns from the names of `name=value` folders in it), a pattern or a list of
            these. All ranks must see them.
        comm: the task's communicator; None reads all rows in this process.
        options: those of `polars.scan_parquet`.

    Raises:
        DataError: a file does not exist or is not Parquet; on all ranks alike. Where that is found only when it is
            read, the error names the file and how many of its rows can be read.
    """
    return _scan(source, comm, pl.scan_parquet, "PARQUET", (".parquet", ".pq"), options)


def scan_ipc(source: Source, comm: Communicator | None = None, **options: Any) -> Table:
    """Read Arrow IPC files lazily; each rank gets an even share of the rows, in order. Collective.

    `options` are those of `polars.scan_ipc`; sources and errors as of `scan_parquet`.
    """
    return _scan(source, comm, pl.scan_ipc, "IPC", (".arrow", ".ipc", ".feather"), options)


def scan_ndjson(source: Source, comm: Communicator | None = None, *, split: str = "auto", **options: Any) -> Table:
    """Read files of one JSON object a line lazily; each rank gets a share of the rows, in order. Collective.

    `options` are those of `polars.scan_ndjson`; sources, `split` and errors as of `scan_csv`.
    """
    return _scan(source, comm, pl.scan_ndjson, "NDJSON", (".ndjson", ".jsonl"), options, split)


def scan_dataset(dataset: Dataset, comm: Communicator | None = None) -> Table:
    """Read a dataset lazily: one part for each rank where their numbers agree, else an even share of the rows."""
    comm = comm or SoloCommunicator()

    def load(comm: Communicator) -> pl.LazyFrame:
        return dataset.part(comm.rank, comm.size).scan()

    def statistics() -> Estimate:
        rows = dataset.num_rows
        return Estimate(rows, of_bytes(dataset.num_bytes / max(rows, 1), dataset.schema), counted=True)

    def portions(comm: Communicator, portion_bytes: int) -> Portions:
        part = dataset.part(comm.rank, comm.size)
        return of_frame(part.scan(), part.num_rows, rows_within(portion_bytes, statistics()))

    columns = checked(dataset.schema)
    return Table(plan.Source(f"DATASET {dataset.name}", columns, load, statistics=statistics, portions=portions), comm)


def _scan(
    source: Source,
    comm: Communicator | None,
    scan: Scan,
    what: str,
    suffixes: Sequence[str],
    options: Mapping[str, Any],
    split: str = "rows",
) -> Table:
    """Find the files and their columns on rank 0, so that all ranks agree on both."""
    if split not in _SPLITS:
        raise SpecError(f"unknown split={split!r}. {valid_values(split, _SPLITS, noun='split')}")
    comm = comm or SoloCommunicator()
    options = dict(options)
    limit = options.pop("n_rows", None)
    reader = Reader(what, scan, options)

    if reader.of_paths and _is_folder(source):
        reader = reader.with_options(**{"hive_partitioning": True, **options})

    def describe() -> tuple[tuple[str, ...], pl.Schema, pl.Schema] | None:
        if comm.rank:
            return None
        files = expand(source, suffixes)
        known = reader if reader.of_paths else _in_folders(reader, files, whole_folder=_is_folder(source))
        schema = checked(known.schema(files))
        return files, schema, known.folders

    _, found = together(comm, f"opening {source}", describe, lambda result: result)
    assert found[0] is not None
    files, schema, folders = found[0]
    reader = _with_types(reader.in_folders(folders), files, schema)
    name = files[0] if len(files) == 1 else f"{len(files)} files from {files[0]}"

    of_files = Files(reader, files, schema, limit, split)

    def fault() -> str | None:
        return reader.fault(files, list(schema))

    def statistics() -> Estimate | None:
        def looked(some: Sequence[str]) -> pl.LazyFrame:
            return reader.load(some, schema, None, "rows", SoloCommunicator())

        headers = what == "CSV" and options.get("has_header", True)
        return statistics_of(files, looked, limit, counted=what in ("PARQUET", "IPC"), headers=headers)

    def portions(comm: Communicator, portion_bytes: int) -> Portions:
        return of_files.portions(comm, portion_bytes, statistics())

    def look(known: Estimate) -> Estimate:
        told = what == "PARQUET" and limit is None and not any("://" in file for file in files)
        return replace(known, bounds=of_files.bounds(schema)) if told and len(schema) * len(files) <= _MOST else known

    described = plan.Source(f"{what} {name}", schema, of_files.load, fault, statistics, portions, look=look)

    def where(predicates: tuple[pl.Expr, ...]) -> plan.Source | None:
        less = skipping(of_files, predicates)
        if less is None:
            return None

        return replace(
            described,
            load=less.load,
            look=less.look,
            portions=lambda comm, portion_bytes: less.portions(comm, portion_bytes, statistics()),
            in_words=lambda: f", {less.in_words()}",
        )

    return Table(replace(described, where=where), comm)


def _is_folder(source: Source) -> bool:
    return isinstance(source, str | Path) and Path(source).expanduser().is_dir()


def _in_folders(reader: Reader, files: Sequence[str], *, whole_folder: bool) -> Reader:
    """With the columns of the folders' names, where those are asked for: by option, or by naming the folder."""
    if not reader.options.get("hive_partitioning", whole_folder):
        return reader.in_folders(pl.Schema())
    given = reader.options.get("hive_schema") or {}
    return reader.in_folders(pl.Schema({**folder_types(files, folder_columns(files)), **given}))


def _with_types(reader: Reader, files: Sequence[str], schema: pl.Schema) -> Reader:
    """The types that rank 0 inferred, for all ranks; columns that the scan itself adds are not in the file."""
    options = reader.options
    added = {options.get("row_index_name"), options.get("include_file_paths"), *reader.folders}
    in_files = {name: dtype for name, dtype in schema.items() if name not in added}
    if reader.scan is pl.scan_csv and not options.keys() & {"schema", "new_columns", "with_column_names"}:
        return reader.with_options(schema_overrides=in_files)
    if reader.scan is pl.scan_ndjson and "schema" not in options:
        return reader.with_options(schema=in_files)
    if options.get("hive_partitioning") and "hive_schema" not in options:
        names = [name for name in folder_columns(files) if name in schema]
        return reader.with_options(hive_schema={name: schema[name] for name in names})
    return reader
