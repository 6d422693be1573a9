"""Parquet row groups that are large beside the memory of a rank, read page by page.

Polars reads the bytes of a row group's columns whole, again for each portion of its rows. Arrow's reader goes through
the pages of all columns side by side, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from deeprc.table.files.reading import Reader

_BATCH_ROWS = 1 << 15
_BUFFER_BYTES = 1 << 16
# Options that change nothing of what is read.
HARMLESS = frozenset({"parallel", "use_statistics", "low_memory", "rechunk", "cache", "glob"})
# Those that change nothing where no folder of the path is named after a column.
OF_FOLDERS = frozenset({"hive_partitioning", "hive_schema", "try_parse_hive_dates"})


def reads_pages(reader: Reader, file: str, schema: pl.Schema, limit: int) -> bool:
    """Whether a row group of the file has more than `limit` bytes, and Arrow gives its rows in the types of Polars."""
    harmless = HARMLESS if "=" in file else HARMLESS | OF_FOLDERS
    if reader.scan is not pl.scan_parquet or "://" in file or not reader.options.keys() <= harmless:
        return False
    import pyarrow as pa

    try:
        with _opened(reader, file) as opened:
            if max(map(_bytes_of, _groups(opened)), default=0) <= limit:
                return False
            as_frame = pl.from_arrow(opened.schema_arrow.empty_table())
    except (OSError, pa.ArrowException):
        return False
    return isinstance(as_frame, pl.DataFrame) and as_frame.schema == schema


def pages(reader: Reader, file: str, offset: int, length: int) -> Iterator[pl.LazyFrame]:
    """Rows [offset, offset + length) of the file."""
    with _opened(reader, file) as opened:
        wanted, before = [], 0
        first: int | None = None
        for number, group in enumerate(_groups(opened)):
            if before < offset + length and before + group.num_rows > offset:
                wanted.append(number)
                first = before if first is None else first
            before += group.num_rows
        skipped, left = offset - (first or 0), length
        for batch in opened.iter_batches(_BATCH_ROWS, row_groups=wanted, use_threads=False):
            rows = pl.DataFrame(pl.from_arrow(batch)).slice(skipped, left)
            skipped = max(0, skipped - batch.num_rows)
            left -= rows.height
            if rows.height:
                yield rows.lazy()
            if not left:
                return


def _opened(reader: Reader, file: str) -> Any:
    from pyarrow import parquet

    return parquet.ParquetFile(reader.opener(file), buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _groups(opened: Any) -> Iterator[Any]:
    return (opened.metadata.row_group(number) for number in range(opened.num_row_groups))


def _bytes_of(group: Any) -> int:
    """What is read of the file for all columns."""
    return sum(int(group.column(number).total_compressed_size) for number in range(group.num_columns))
