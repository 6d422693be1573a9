"""A dataset as a whole table: for Arrow and for Polars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from deeprc.bridge.ledger import LedgerEntry
from deeprc.bridge.mapping import MappedPart, map_part
from deeprc.bridge.parts import Part, part_schema

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_table(parts: Sequence[Part]) -> tuple[pa.Table, list[LedgerEntry]]:
    """The parts as chunks of one table on the mapped files."""
    import pyarrow as pa

    table = pa.concat_tables([map_part(part).table for part in parts])
    return table, [LedgerEntry(name, "arrow", "shared", table[name].nbytes) for name in table.column_names]


def polars_frame(parts: Sequence[Part], columns: Sequence[str] | None = None) -> tuple[pl.DataFrame, list[LedgerEntry]]:
    """The parts as chunks of one frame; on the mapped files where Polars takes their memory as it is."""
    schema = part_schema(parts[0])
    names = list(schema) if columns is None else list(columns)
    if wide := [name for name, dtype in schema.items() if dtype in (pl.Int128, pl.UInt128)]:
        for part in parts:
            part_schema(part)
        frames = [pl.read_ipc(part.path, columns=names).slice(part.first_row, part.num_rows) for part in parts]
        frame = pl.concat(frames, rechunk=False)
        reasons = dict.fromkeys(frame.columns, f"pyarrow, which maps the file, lacks the 128-bit integers of {wide}")
    else:
        mapped = [map_part(part) for part in parts]
        frames = [pl.DataFrame(pl.from_arrow(part.table.select(names), rechunk=False)) for part in mapped]
        frame = pl.concat(frames, rechunk=False)
        reasons = {column.name: _why_copied(column, mapped) for column in frame}
    return frame, [
        LedgerEntry(
            column.name,
            "polars",
            "copied" if reasons[column.name] else "shared",
            int(column.estimated_size()),
            reasons[column.name],
        )
        for column in frame
    ]


def _why_copied(column: pl.Series, mapped: Sequence[MappedPart]) -> str:
    """Look where the column's memory is; empty if all of it is the files' own."""
    if _has_categories(column.dtype):
        return "Polars numbers categories in a table of its own"
    buffers = [buffer for chunk in _arrow_chunks(column) for buffer in chunk.buffers() if buffer and buffer.size]
    if all(any(part.holds(buffer.address) for part in mapped) for buffer in buffers):
        return ""
    return "Polars lays out this column, or a part of it, in another way"


def _arrow_chunks(column: pl.Series) -> list[pa.Array]:
    """The column's own memory, as Arrow sees it: `Series.to_arrow` would join several chunks in a copy."""
    return [chunk.to_arrow(compat_level=pl.CompatLevel.newest()) for chunk in column.get_chunks()]


def _has_categories(dtype: Any) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_has_categories(field.dtype) for field in dtype.fields)
    if isinstance(dtype, pl.List | pl.Array):
        return _has_categories(dtype.inner)
    return isinstance(dtype, pl.Categorical | pl.Enum)
