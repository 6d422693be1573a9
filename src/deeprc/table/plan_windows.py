"""Nodes that add columns computed from other rows than their own, each with its own way to do so on many ranks."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from deeprc.table.plan import WithColumns


@dataclass(frozen=True, eq=False)
class Around(WithColumns):
    """Columns beside the table's own, which stay as they are, where they are."""

    @property
    def moves(self) -> str:
        """What travels."""
        return f"columns read by {self._listed} to rank 0 and the result back (not row by row)"

    @property
    def _listed(self) -> str:
        return ", ".join(map(str, self.exprs))


@dataclass(frozen=True, eq=False)
class Scalars(Around):
    """Aggregates of the whole table, in every row."""

    @property
    def moves(self) -> str:
        return "one row of aggregates a rank, or the columns they read; one row back"

    def label(self) -> str:
        return f"AGGREGATES IN EVERY ROW {self._listed}"


@dataclass(frozen=True, eq=False)
class ByKey(Around):
    """Columns that depend on the rows of equal keys, and their order."""

    keys: tuple[pl.Expr, ...]

    @property
    def moves(self) -> str:
        return f"columns read by hash of [{', '.join(map(str, self.keys))}], and the result back"

    def label(self) -> str:
        return f"WINDOW BY KEY {self._listed}"


@dataclass(frozen=True, eq=False)
class Nearby(Around):
    """Columns that depend on at most `before` rows before, and `after` rows after, a row."""

    before: int
    after: int

    @property
    def moves(self) -> str:
        return f"{self.before} rows before and {self.after} after each rank's part"

    def label(self) -> str:
        return f"WINDOW NEARBY {self._listed}"


@dataclass(frozen=True, eq=False)
class Carried(Around):
    """Columns that go through the table in order with one value in hand, as a cumulative sum."""

    @property
    def moves(self) -> str:
        return "one row a rank to all ranks"

    def label(self) -> str:
        return f"WINDOW IN ORDER {self._listed}"
