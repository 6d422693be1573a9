"""A rank's share of a source as a sequence of queries that each read few rows.

A reader that streams keeps ahead of whoever takes its rows, by as much as it likes: within a memory budget a rank
asks for a portion at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from deeprc.communicator import Communicator
from deeprc.table.files.byte_ranges import CHUNK_BYTES, Piece, Text, chunks, pieces_of
from deeprc.table.files.files import Run, share_of
from deeprc.table.files.footers import bounds_of_groups, group_statistics
from deeprc.table.files.reading import Reader
from deeprc.table.files.row_groups import pages, reads_pages
from deeprc.table.files.statistics import Bounds, Estimate

_WIDE_ROW_BYTES = 1024.0
_LARGE_ROW_GROUP = 4  # portions
# Options by which files may have other columns than the first one: then they are not read alone.
_UNEVEN = frozenset({"missing_columns", "extra_columns", "cast_options", "allow_missing_columns"})
Portions = Callable[[], Iterator[pl.LazyFrame]]


@dataclass(frozen=True)
class Files:
    """The files of a scan, in order; all ranks have the same."""

    reader: Reader
    names: tuple[str, ...]
    schema: pl.Schema
    limit: int | None
    split: str

    def bounds(
        self,
        columns: Mapping[str, pl.DataType],
        names: Sequence[str] | None = None,
        some: Callable[[pl.DataFrame, str], pl.DataFrame] = lambda groups, _: groups,
    ) -> Mapping[str, Bounds]:
        """Those of columns, as far as footers of Parquet files tell: of all files or these, of all groups or some."""
        import pyarrow as pa

        try:
            found = [
                some(group_statistics(self.reader.opener(name), columns), name)
                for name in (self.names if names is None else names)
            ]
        except (OSError, pa.ArrowException, pl.exceptions.PolarsError):
            return {}
        return bounds_of_groups(pl.concat(found), columns) if found else {}

    def load(self, comm: Communicator) -> pl.LazyFrame:
        """This rank's share of the rows. Collective."""
        return self.reader.load(self.names, self.schema, self.limit, self.split, comm)

    def portions(self, comm: Communicator, portion_bytes: int, statistics: Estimate | None) -> Portions:
        """This rank's share, in order, in portions of about `portion_bytes` of memory. Collective.

        Text whose lines can't be told apart without reading all before them, such as packed files, is one portion.
        """
        if self.reader.counts_rows:
            return self._of_rows(comm, rows_within(portion_bytes, statistics), _LARGE_ROW_GROUP * portion_bytes)
        text = None if self.limit is not None else self.reader.text()
        pieces = None if text is None else pieces_of(self.names, text, list(self.schema), "bytes", comm)
        if text is None or pieces is None:
            frame = self.load(comm)
            return lambda: iter([frame])
        limit = min(CHUNK_BYTES, max(1 << 16, portion_bytes // 4))
        return lambda: _of_lines(text, pieces, self.schema, limit)

    def _of_rows(self, comm: Communicator, rows_each: int, most_group_bytes: int) -> Portions:
        share = share_of(self.names, self.reader.rows, self.limit, comm)
        if _UNEVEN & self.reader.options.keys():
            return of_frame(self.reader.frame(share.files).slice(share.offset, share.length), share.length, rows_each)
        with_numbers = self.reader.options.get("row_index_name")
        first_number = self.reader.options.get("row_index_offset", 0)

        def portions() -> Iterator[pl.LazyFrame]:
            before, skipped, left = share.before, share.offset, share.length
            for file, height in zip(share.files, share.heights, strict=True):
                if reads_pages(self.reader, file, self.schema, most_group_bytes):
                    yield from pages(self.reader, file, skipped, min(height - skipped, left))
                    left -= min(left, height - skipped)
                    before, skipped = before + height, 0
                    continue
                numbered = {"row_index_offset": first_number + before} if with_numbers else {}
                frame = self.reader.with_options(**numbered).frame([file])
                for start in range(skipped, min(height, skipped + left), rows_each):
                    yield frame.slice(start, min(rows_each, skipped + left - start))
                left -= min(left, height - skipped)
                before, skipped = before + height, 0

        return portions


def portions_of_runs(
    reader: Reader, runs: Sequence[Run], schema: pl.Schema, portion_bytes: int, statistics: Estimate | None
) -> Portions:
    """Rows of Parquet files, in order."""
    rows_each = rows_within(portion_bytes, statistics)

    def portions() -> Iterator[pl.LazyFrame]:
        for run in runs:
            if reads_pages(reader, run.file, schema, _LARGE_ROW_GROUP * portion_bytes):
                yield from pages(reader, run.file, run.start, run.rows)
            else:
                rows = reader.frame([run.file]).slice(run.start, run.rows)
                yield from of_frame(rows, run.rows, rows_each)()

    return portions


def of_frame(frame: pl.LazyFrame, rows: int, rows_each: int) -> Portions:
    """Of a query of which any rows can be read without the others."""
    return lambda: (frame.slice(start, rows_each) for start in range(0, rows, rows_each))


def _of_lines(text: Text, pieces: list[Piece], schema: pl.Schema, limit: int) -> Iterator[pl.LazyFrame]:
    for piece in pieces:
        for start, lines in chunks(piece, text.quote, limit):
            yield text.frame([Piece(piece.file, start, start + len(lines))], schema)


def rows_within(portion_bytes: int, statistics: Estimate | None) -> int:
    """How many rows a portion has; those of unknown width are taken to be wide."""
    row_bytes = _WIDE_ROW_BYTES if statistics is None else sum(statistics.widths.values())
    return max(1, int(portion_bytes / max(row_bytes, 1.0)))
