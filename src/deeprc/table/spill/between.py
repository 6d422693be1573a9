"""Interpolation, over pieces: the known values next to each batch are all that it needs of the others."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from deeprc.table.exchange.exchange import concat, replicate, together
from deeprc.table.operators.between import Interpolation, interpolation
from deeprc.table.operators.shuffle import ROW_NUMBER
from deeprc.table.plan.window_nodes import Interpolated
from deeprc.table.spill.context import Numbered, Spilling
from deeprc.table.spill.pieces import Pieces, of_frames
from deeprc.table.spill.timeline import TIME, spans
from deeprc.table.spill.windows import around


def interpolated(node: Interpolated, run: Spilling) -> Pieces:
    """Two rows of each batch go to all ranks. By a column that is not sorted rank 0 computes."""
    rows = run.numbered(run.pieces(node.input), node.label())
    lines = [interpolation(expression, node) for expression in node.exprs]
    for line in lines:
        if len(line.inputs) == 2 and not _by(line, rows, node, run):
            return around(node, rows, run)
    counts = run.comm.all_gather(len(rows.kept.heights))
    first = sum(counts[: run.comm.rank])

    def numbered() -> Iterator[pl.DataFrame]:
        start = rows.edges[run.comm.rank]
        for batch in rows.kept.batches():
            numbers = pl.int_range(start, start + batch.height, dtype=pl.Int64, eager=True)
            yield batch.with_columns(numbers.alias(ROW_NUMBER))
            start += batch.height

    def looked() -> list[pl.DataFrame]:
        empty = rows.kept.pieces.empty.with_columns(pl.lit(0, dtype=pl.Int64).alias(ROW_NUMBER))
        found = [[line.ends(line.own(empty), 0)] for line in lines]
        for number, batch in enumerate(numbered(), start=first):
            for line, parts in zip(lines, found, strict=True):
                parts.append(line.ends(line.own(batch), number))
        return [concat(parts) for parts in found]

    own, _ = together(run.comm, f"computing its part for {node.label()}", looked, lambda _: None)
    ends = [replicate(part, run.comm, node.label()) for part in own]

    def frames() -> Iterator[pl.DataFrame]:
        for number, batch in enumerate(numbered(), start=first):
            columns = [line.column(line.own(batch), known, number) for line, known in zip(lines, ends, strict=True)]
            yield batch.drop(ROW_NUMBER).with_columns(columns)

    return of_frames(frames, node.schema, again=True, placement=rows.kept.pieces.placement)


def _by(line: Interpolation, rows: Numbered, node: Interpolated, run: Spilling) -> bool:
    """Whether the column to interpolate by is sorted. Collective."""

    def view(batch: pl.DataFrame) -> pl.DataFrame:
        return batch.lazy().select(line.inputs[1].alias(TIME)).collect()

    return spans(rows, view, node, run).in_order
