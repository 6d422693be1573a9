"""The distributed table: Polars' lazy API, one partition a rank."""

from __future__ import annotations

from deeprc.table.methods.joins import Joins
from deeprc.table.methods.sets import Sets, concat
from deeprc.table.methods.statistics import Statistics

__all__ = ["Table", "concat"]


class Table(Sets, Joins, Statistics):
    """A lazy table, one partition on each rank of `comm`; rows are ordered by (rank, row).

    Methods that make a table return at once, and raise DataError for unknown columns and wrong types before
    any work starts. `collect`, `gather`, `persist` and the writers work, and are collective: all ranks
    call them, in the same order.
    """

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}: {dtype}" for name, dtype in self.schema.items())
        return f"Table({columns}; {self.comm.size} rank{'s' if self.comm.size > 1 else ''}, lazy)"
