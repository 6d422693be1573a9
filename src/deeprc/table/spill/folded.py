"""Columns that go through the table in order, over pieces: each batch as if it were the first, then with what came
before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from deeprc.table.exchange.exchange import together
from deeprc.table.operators.folded import Folds
from deeprc.table.operators.weighted_in_time import Weighting, weightings
from deeprc.table.plan.window_nodes import Around, WeightedInTime
from deeprc.table.spill.context import Numbered, Spilling
from deeprc.table.spill.pieces import Pieces, of_frames
from deeprc.table.spill.timeline import TIME, spans
from deeprc.table.spill.windows import around


def folded(folds: Callable[[Around], Folds]) -> Callable[[Around, Spilling], Pieces]:
    """The operator of these columns. A few numbers of each batch go to all ranks."""
    return lambda node, run: _folded(node, folds(node), run.numbered(run.pieces(node.input), node.label()), run)


def weighted_in_time(node: WeightedInTime, run: Spilling) -> Pieces:
    """Of times that are not sorted rank 0 computes."""
    rows, columns = run.numbered(run.pieces(node.input), node.label()), weightings(node)
    if not all(_in_order(column, rows, node, run) for column in columns):
        return around(node, rows, run)
    return _folded(node, columns, rows, run)


def _in_order(column: Weighting, rows: Numbered, node: WeightedInTime, run: Spilling) -> bool:
    return spans(rows, lambda part: column.times(part).to_frame(TIME), node, run).in_order


def _folded(node: Around, folds: Folds, rows: Numbered, run: Spilling) -> Pieces:
    def ends() -> list[list[Any]]:
        return [[fold.ended(fold.rows(batch)) for fold in folds] for batch in rows.kept.batches()]

    own, facts = together(run.comm, f"computing its part for {node.label()}", ends, lambda found: found)
    start = [fold.start for fold in folds]
    for ended in (ended for of_rank in facts[: run.comm.rank] for ended in of_rank):
        start = _after(folds, start, ended)

    def frames() -> Iterator[pl.DataFrame]:
        before = start
        for batch, ended in zip(rows.kept.batches(), own, strict=True):
            yield batch.with_columns(
                fold.column(fold.rows(batch), each) for fold, each in zip(folds, before, strict=True)
            )
            before = _after(folds, before, ended)

    return of_frames(frames, node.schema, again=True, placement=rows.kept.pieces.placement)


def _after(folds: Folds, before: list[Any], ended: list[Any]) -> list[Any]:
    return [fold.after(each, end) for fold, each, end in zip(folds, before, ended, strict=True)]
