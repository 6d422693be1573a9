"""Where tables come from: files that all ranks see, frames that each rank has, datasets of an earlier task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from deeprc.bridge import Dataset
from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import DataError
from deeprc.table import plan
from deeprc.table.exchange import together
from deeprc.table.files import Opener, Source, expand, rows_in, share_of
from deeprc.table.schema import as_data_error, checked
from deeprc.table.table import Table

Scan = Callable[..., pl.LazyFrame]


def scan_csv(source: Source, comm: Communicator | None = None, **options: Any) -> Table:
    """Read CSV files lazily; each rank gets an even share of the rows, in order. Collective.

    Args:
        source: a path, a folder, a pattern or a list of these; plain, or packed with gzip, zlib or zstd, or
            as a zip archive that holds one file. All ranks must see them.
        comm: the task's communicator; None reads all rows in this process.
        options: those of `polars.scan_csv`.

    Raises:
        DataError: a file does not exist, is empty, or is not what the options say; on all ranks alike.
    """
    return _scan(source, comm, pl.scan_csv, "CSV", (".csv", ".csv.gz", ".csv.zst", ".csv.zip", ".tsv"), options)


def scan_parquet(source: Source, comm: Communicator | None = None, **options: Any) -> Table:
    """Read Parquet files lazily; each rank gets an even share of the rows, in order. Collective.

    Args:
        source: a path, a folder, a pattern or a list of these. All ranks must see them.
        comm: the task's communicator; None reads all rows in this process.
        options: those of `polars.scan_parquet`.

    Raises:
        DataError: a file does not exist or is not Parquet; on all ranks alike.
    """
    if isinstance(source, str | Path) and Path(source).is_dir():
        options = {"hive_partitioning": True, **options}
    return _scan(source, comm, pl.scan_parquet, "PARQUET", (".parquet", ".pq"), options)


def scan_ipc(source: Source, comm: Communicator | None = None, **options: Any) -> Table:
    """Read Arrow IPC files lazily; each rank gets an even share of the rows, in order. Collective.

    `options` are those of `polars.scan_ipc`. Raises DataError as `scan_parquet` does.
    """
    return _scan(source, comm, pl.scan_ipc, "IPC", (".arrow", ".ipc", ".feather"), options)


def scan_ndjson(source: Source, comm: Communicator | None = None, **options: Any) -> Table:
    """Read files of one JSON object a line lazily; each rank gets an even share of the rows, in order. Collective.

    `options` are those of `polars.scan_ndjson`. Raises DataError as `scan_parquet` does.
    """
    return _scan(source, comm, pl.scan_ndjson, "NDJSON", (".ndjson", ".jsonl"), options)


def from_polars(frame: pl.DataFrame | pl.LazyFrame | None, comm: Communicator | None = None) -> Table:
    """Make a table of the frames that the ranks hold: each passes its own part, rank 0's rows come first.

    Collective. A rank without rows may pass None, if another has the columns.

    Raises:
        DataError: the parts differ in columns or types, or hold Python objects; on all ranks alike.
    """
    comm = comm or SoloCommunicator()
    lazy = frame.lazy() if frame is not None else None
    _, schemas = together(
        comm,
        "reading the columns of its frame",
        lambda: checked(lazy.collect_schema()) if lazy is not None else None,
        lambda schema: None if schema is None else list(schema.items()),
    )
    known = [(rank, schema) for rank, schema in enumerate(schemas) if schema is not None]
    if not known:
        raise DataError("no rank passed a frame: from_polars needs one that says which columns there are")
    first_rank, first = known[0]
    for rank, schema in known:
        if schema != first:
            raise DataError(
                f"all parts of a table have the same columns: rank {first_rank} has {dict(first)}, rank {rank} has "
                f"{dict(schema)}. Select and cast before from_polars"
            )
    columns = pl.Schema(first)
    part = lazy if lazy is not None else pl.LazyFrame(schema=columns)
    return Table(plan.Source("FRAMES of all ranks", columns, lambda _: part), comm)


def scan_dataset(dataset: Dataset, comm: Communicator | None = None) -> Table:
    """Read a dataset lazily: one part for each rank where their numbers agree, else an even share of the rows."""
    comm = comm or SoloCommunicator()

    def load(comm: Communicator) -> pl.LazyFrame:
        return dataset.part(comm.rank, comm.size).scan()

    return Table(plan.Source(f"DATASET {dataset.name}", checked(dataset.schema), load), comm)


def _scan(
    source: Source,
    comm: Communicator | None,
    scan: Scan,
    what: str,
    suffixes: Sequence[str],
    options: Mapping[str, Any],
) -> Table:
    """Find the files and their columns on rank 0, so that all ranks agree on both."""
    comm = comm or SoloCommunicator()
    options = dict(options)
    limit = options.pop("n_rows", None)
    opener = Opener()

    def describe() -> tuple[tuple[str, ...], pl.Schema] | None:
        if comm.rank:
            return None
        files = expand(source, suffixes)
        with as_data_error(f"{what} {', '.join(files[:3])}"):
            schema = checked(scan([opener(file) for file in files], **options).collect_schema())
        return files, schema

    _, found = together(comm, f"opening {source}", describe, lambda result: result)
    assert found[0] is not None
    files, schema = found[0]
    if scan is pl.scan_csv and not options.keys() & {"schema", "new_columns", "with_column_names"}:
        options["schema_overrides"] = _file_columns(schema, options)

    if scan is pl.scan_ndjson and "schema" not in options:
        options["schema"] = _file_columns(schema, options)
    if options.get("hive_partitioning") and "hive_schema" not in options:
        options["hive_schema"] = {name: schema[name] for name in _folder_columns(files) if name in schema}

    def load(comm: Communicator) -> pl.LazyFrame:
        if comm.size == 1:
            frame = scan([opener(file) for file in files], **options)
            return frame if limit is None else frame.head(limit)
        return _load_share(files, opener, scan, options, limit, comm)

    name = files[0] if len(files) == 1 else f"{len(files)} files from {files[0]}"
    return Table(plan.Source(f"{what} {name}", schema, load), comm)


def _file_columns(schema: pl.Schema, options: Mapping[str, Any]) -> dict[str, pl.DataType]:
    """The types that rank 0 inferred, for all ranks; columns that the scan itself adds are not in the file."""
    added = {options.get("row_index_name"), options.get("include_file_paths")}
    return {name: dtype for name, dtype in schema.items() if name not in added}


def _folder_columns(files: Sequence[str]) -> set[str]:
    """Columns whose values stand in the folders' names, as in `year=2024/part.parquet`."""
    return {part.partition("=")[0] for file in files for part in Path(file).parts[:-1] if "=" in part}


def _load_share(
    files: Sequence[str], opener: Opener, scan: Scan, options: Mapping[str, Any], limit: int | None, comm: Communicator
) -> pl.LazyFrame:
    counting = {key: value for key, value in options.items() if key not in ("row_index_name", "include_file_paths")}
    share = share_of(files, lambda file: rows_in(scan(opener(file), **counting)), limit, comm)
    if options.get("row_index_name"):
        options = {**options, "row_index_offset": options.get("row_index_offset", 0) + share.before}
    frame, _ = together(
        comm,
        "opening its share of the files",
        lambda: scan([opener(file) for file in share.files], **options).slice(share.offset, share.length),
        lambda _: None,
    )
    return frame
