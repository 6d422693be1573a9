"""The distributed table: Polars' lazy API, one partition a rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from deeprc.table.methods.matches import Matches
from deeprc.table.methods.nearest import refusal
from deeprc.table.methods.sets import Sets, concat
from deeprc.table.methods.statistics import Statistics
from deeprc.table.methods.totals import Totals

__all__ = ["Table", "concat"]


class Table(Sets, Matches, Totals, Statistics):
    """A lazy table, one partition on each rank of `comm`; rows are ordered by (rank, row).

    Methods that make a table return at once, and raise DataError for unknown columns and wrong types before
    any work starts. `collect`, `gather`, `persist` and the writers work, and are collective: all ranks
    call them, in the same order.
    """

    if not TYPE_CHECKING:  # To a type checker it would mean that a table has every attribute.

        def __getattr__(self, name: str) -> NoReturn:
            """Refuse what a table has not, and name the nearest that it has."""
            raise AttributeError(refusal(name, dir(type(self))), name=name, obj=self)

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}: {dtype}" for name, dtype in self.schema.items())
        return f"Table({columns}; {self.comm.size} rank{'s' if self.comm.size > 1 else ''}, lazy)"
