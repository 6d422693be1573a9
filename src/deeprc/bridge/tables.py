"""A dataset as a whole table: for Arrow and for Polars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from deeprc.bridge.ledger import LedgerEntry, Target
from deeprc.bridge.mapping import map_part
from deeprc.bridge.parts import Part, check_part
from deeprc.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_WIDE = (pl.Int128, pl.UInt128)


def arrow_table(parts: Sequence[Part]) -> tuple[pa.Table, list[LedgerEntry]]:
    """The parts as chunks of one table on the mapped files."""
    import pyarrow as pa

    if wide := _wide_columns(parts[0]):
        raise DataError(
            f"columns {wide} hold 128-bit integers, which pyarrow cannot read; cast them to pl.Int64 or "
            "pl.Decimal before the dataset is written, or read it with to_polars or scan"
        )
    table = pa.concat_tables([map_part(part) for part in parts])
    return table, [LedgerEntry(name, "arrow", "shared", table[name].nbytes) for name in table.column_names]


def polars_frame(parts: Sequence[Part]) -> tuple[pl.DataFrame, list[LedgerEntry]]:
    """The parts as chunks of one frame; on the mapped files, unless pyarrow lacks a type."""
    if wide := _wide_columns(parts[0]):
        for part in parts:
            check_part(part)
        frames = [pl.read_ipc(part.path).slice(part.first_row, part.num_rows) for part in parts]
        frame = pl.concat(frames, rechunk=False)
        return frame, _entries(frame, f"pyarrow, which maps the file, has no 128-bit integers as in {wide}")
    frame = pl.concat([_frame(map_part(part)) for part in parts], rechunk=False)
    return frame, _entries(frame, "")


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table, rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _entries(frame: pl.DataFrame, reason: str) -> list[LedgerEntry]:
    to: Target = "polars"
    return [
        LedgerEntry(column.name, to, "copied" if reason else "shared", int(column.estimated_size()), reason)
        for column in frame
    ]


def _wide_columns(part: Part) -> list[str]:
    check_part(part)
    return [name for name, dtype in pl.read_ipc_schema(part.path).items() if dtype in _WIDE]
