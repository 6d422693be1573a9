"""How the files of a scan become rows of a rank: which rows, columns from folders' names, and what is wrong where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from deeprc.communicator import Communicator
from deeprc.errors import DataError
from deeprc.table.exchange.exchange import together
from deeprc.table.files.byte_ranges import Text, is_packed, pieces_of
from deeprc.table.files.files import Opener, rows_in, share_of
from deeprc.table.schema import as_data_error

Scan = Callable[..., pl.LazyFrame]
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Reader:
    """Polars' scan of one format with its options; `folders` are columns that stand in the files' paths.

    Polars itself reads these from Parquet and IPC files' paths, so that there `folders` is empty.
    """

    what: str
    scan: Scan
    options: Mapping[str, Any]
    opener: Opener = field(default_factory=Opener)
    folders: pl.Schema = field(default_factory=pl.Schema)

    def with_options(self, **options: Any) -> Reader:
        """The same with other options."""
        return replace(self, options={**self.options, **options})

    @property
    def of_paths(self) -> bool:
        """Whether Polars reads columns from folders' names for this format."""
        return self.scan in (pl.scan_parquet, pl.scan_ipc)

    @property
    def counts_rows(self) -> bool:
        """Whether files of this format say how many rows they have, and any of these can be read alone."""
        return self.of_paths

    def in_folders(self, columns: pl.Schema) -> Reader:
        """The same with these columns from the folders' names; for formats where Polars does not read them."""
        if self.of_paths:
            return self
        options = {key: value for key, value in self.options.items() if key not in ("hive_partitioning", "hive_schema")}
        return replace(self, options=options, folders=columns)

    def frame(self, files: Sequence[str]) -> pl.LazyFrame:
        """The rows of the files, in order."""
        if not self.folders:
            return self.scan([self.opener(file) for file in files], **self.options)
        return pl.concat(
            self.scan([self.opener(file) for file in some], **self.options).with_columns(self._of_folder(values))
            for values, some in groupby(files, key=lambda file: folder_values(file, list(self.folders)))
        )

    def _of_folder(self, values: Sequence[str | None]) -> list[pl.Expr]:
        return [
            _constant(value, dtype).alias(name)
            for value, (name, dtype) in zip(values, self.folders.items(), strict=True)
        ]

    def schema(self, files: Sequence[str]) -> pl.Schema:
        """Names and types of the columns.

        Raises:
            DataError: a file cannot be opened; names it.
        """
        try:
            with as_data_error(f"{self.what} {', '.join(files[:3])}"):
                return self.frame(files).collect_schema()
        except DataError:
            for file in files if len(files) > 1 else ():
                with as_data_error(f"{self.what} {file}"):
                    self.frame([file]).collect_schema()
            raise

    def rows(self, file: str) -> int:
        """How many rows a file has."""
        unnumbered = {
            key: value for key, value in self.options.items() if key not in ("row_index_name", "include_file_paths")
        }
        with as_data_error(f"{self.what} {file}"):
            return rows_in(replace(self, options=unnumbered).frame([file]))

    def load(
        self, files: Sequence[str], schema: pl.Schema, limit: int | None, split: str, comm: Communicator
    ) -> pl.LazyFrame:
        """This rank's share of the rows. Collective."""
        if comm.size == 1:
            self._check_quotes(files, schema, comm)
            frame = self.frame(files)
            return frame if limit is None else frame.head(limit)
        text = None if limit is not None else self.text()
        pieces = None if text is None else pieces_of(files, text, list(schema), split, comm)
        if text is None or pieces is None:
            self._check_quotes(files, schema, comm)
            return self._share_of_rows(files, limit, comm)
        return text.frame(pieces, schema)

    def _check_quotes(self, files: Sequence[str], schema: pl.Schema, comm: Communicator) -> None:
        """Read the files whose quotes are not in place: Polars may lose lines of them unless it reads all fields.

        Raises:
            DataError: a file can't be read; says which, and from which line on.
        """
        quote = (self.options.get("quote_char", '"') or "").encode()
        if self.scan is not pl.scan_csv or not quote or self.options.get("ignore_errors"):
            return
        separator = str(self.options.get("separator", ",")).encode()
        plain = Text(self.what, self._of_bytes, quote, separator, has_header=False)

        def look() -> None:
            for file in files[comm.rank :: comm.size]:
                if "://" in file or (not is_packed(file) and plain.quotes_fit(file)):
                    continue
                if (fault := self._fault_of(file, list(schema))) is not None:
                    raise DataError(fault)

        together(comm, "reading quotes", look, lambda _: None)

    def text(self) -> Text | None:
        """How to read a part of a file, where that is possible: plain lines, and no option that counts them."""
        counting = ("skip_rows", "skip_lines", "skip_rows_after_header", "comment_prefix", "row_index_name")
        naming = ("with_column_names", "new_columns", "include_file_paths")
        unusual = self.options.get("eol_char", "\n") != "\n" or self.options.get("encoding", "utf8") != "utf8"
        if self.folders or unusual or any(self.options.get(key) for key in (*counting, *naming)):
            return None
        if self.scan is pl.scan_ndjson:
            return Text(self.what, self._of_bytes, quote=b"", separator=b"", has_header=False)
        if self.scan is not pl.scan_csv:
            return None
        quote = (self.options.get("quote_char", '"') or "").encode()
        separator = str(self.options.get("separator", ",")).encode()
        return Text(self.what, self._of_bytes, quote, separator, bool(self.options.get("has_header", True)))

    def _of_bytes(self, text: bytes) -> pl.LazyFrame:
        return self.scan(text, **self.options)

    def _share_of_rows(self, files: Sequence[str], limit: int | None, comm: Communicator) -> pl.LazyFrame:
        share = share_of(files, self.rows, limit, comm)
        reader = self
        if self.options.get("row_index_name"):
            reader = self.with_options(row_index_offset=self.options.get("row_index_offset", 0) + share.before)
        frame, _ = together(
            comm,
            "opening its share of the files",
            lambda: reader.frame(share.files).slice(share.offset, share.length),
            lambda _: None,
        )
        return frame

    def fault(self, files: Sequence[str], columns: Sequence[str]) -> str | None:
        """Which file cannot be read, from where on and why; None if all can. Reads them all."""
        faults = (self._fault_of(file, columns) for file in files)
        return next((fault for fault in faults if fault is not None), None)

    def _fault_of(self, file: str, columns: Sequence[str]) -> str | None:
        text = self.text()
        try:
            if text is not None and text.splits(file):
                text.check(file, columns)
            else:
                self._read([file])
        except DataError as error:
            return str(error)
        except (pl.exceptions.PolarsError, OSError) as error:
            return f"{self.what} {file}{self._last_good_row(file)}: {str(error).strip()}"
        return None

    def _read(self, files: Sequence[str], start: int = 0, rows: int | None = None) -> None:
        """Read all values of some rows, and keep none."""
        self.frame(files).slice(start, rows).select(pl.all().null_count()).collect(engine="streaming")

    def _last_good_row(self, file: str) -> str:
        """Up to which row a file can be read."""
        try:
            rows = rows_in(self.frame([file]))
        except (pl.exceptions.PolarsError, OSError):
            return ""
        good, bad = 0, rows
        while good + 1 < bad:
            middle = (good + bad) // 2
            try:
                self._read([file], good, middle - good)
                good = middle
            except (pl.exceptions.PolarsError, OSError):
                bad = middle
        return f", of whose {rows} rows the first {good} can be read"


def _constant(text: str | None, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Boolean:
        return pl.lit(None if text is None else text == "true", dtype=pl.Boolean)
    return pl.lit(text, dtype=pl.String).cast(dtype)


def folder_columns(files: Sequence[str]) -> list[str]:
    """Columns whose values stand in the folders' names, as in `year=2024/part.csv`."""
    names = [part.partition("=")[0] for part in Path(files[0]).parts[:-1] if "=" in part]
    return [name for name in names if all(f"/{name}=" in f"/{file}" for file in files)]


def folder_values(file: str, names: Sequence[str]) -> list[str | None]:
    """The values of these columns for a file."""
    levels = dict(part.split("=", 1) for part in Path(file).parts[:-1] if "=" in part)
    return [None if levels[name] == _NO_VALUE else unquote(levels[name]) for name in names]


def values_of_folders(texts: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Values of one column, as they stand in folders' names."""
    return texts == "true" if dtype == pl.Boolean else texts.cast(dtype)


def folder_types(files: Sequence[str], names: Sequence[str]) -> pl.Schema:
    """What the values are, all files considered: whole numbers, numbers, truths, dates, or text."""
    values = zip(*(folder_values(file, names) for file in files), strict=True)
    return pl.Schema({name: _type_of(pl.Series(column)) for name, column in zip(names, values, strict=True)})


def _type_of(texts: pl.Series) -> pl.DataType:
    known = texts.drop_nulls()
    for dtype in (pl.Int64(), pl.Float64()):
        if len(known) and known.cast(dtype, strict=False).null_count() == 0:
            return dtype
    if len(known) and known.is_in(["true", "false"]).all():
        return pl.Boolean()
    if len(known) and known.str.to_date(strict=False).null_count() == 0:
        return pl.Date()
    return pl.String()
