"""Columns that go through the table in order: each part of the rows as if none came before, then with what did.

A part is what a rank has or, within a memory budget, one batch of it. What a later part needs of the earlier ones is
folded from a few numbers of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import polars as pl

from deeprc.table.exchange.exchange import together
from deeprc.table.plan.window_nodes import Around
from deeprc.table.stage import Execution, Stage

RowsT = TypeVar("RowsT")
EndedT = TypeVar("EndedT")
BeforeT = TypeVar("BeforeT")


class Folding(Protocol[RowsT, EndedT, BeforeT]):
    """One column. `start` is what comes before the first part."""

    @property
    def start(self) -> BeforeT: ...

    def rows(self, part: pl.DataFrame) -> RowsT:
        """What is computed of a part of the rows as if none came before."""

    def ended(self, rows: RowsT) -> EndedT:
        """What later parts need of it."""

    def after(self, before: BeforeT, ended: EndedT) -> BeforeT:
        """What comes before the next part."""

    def column(self, rows: RowsT, before: BeforeT) -> pl.Series:
        """The part's values."""


Folds = Sequence[Folding[Any, Any, Any]]


def run_folded(node: Around, folds: Callable[[Around], Folds], run: Execution) -> Stage:
    """A few numbers of each rank go to all."""
    stage = run.stage(node.input)
    frame = run.collect(stage.frame, node)
    columns = [folded(fold, frame, node, run) for fold in folds(node)]
    return Stage(frame.with_columns(columns).lazy(), stage.placement)


def folded(fold: Folding[RowsT, EndedT, BeforeT], part: pl.DataFrame, node: Around, run: Execution) -> pl.Series:
    """This rank's values of one column. Collective."""
    doing = f"computing its part for {node.label()}"
    rows, ended = together(run.comm, doing, lambda: fold.rows(part), fold.ended)
    before = fold.start
    for each in ended[: run.comm.rank]:
        before = fold.after(before, each)
    return fold.column(rows, before)
