"""The distributed table: Polars' lazy API, one partition a rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Self

from deeprc.errors import SpecError
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

    def __getitem__(self, rows: slice) -> Self:
        """Rows by their numbers, as `table[10:20]`, with what slices `polars.LazyFrame` has."""
        if not isinstance(rows, slice):
            raise TypeError(
                f"a Table takes a slice of rows in brackets, not {rows!r}: choose columns by select(...), a column's "
                "values by select(name).gather().to_series(), rows by filter(...)"
            )
        start, stop, step = rows.start or 0, rows.stop, rows.step or 1
        if step < 0 or (stop is not None and (stop < 0 or start < 0)):
            raise SpecError(
                "a slice of a Table ends at a number from the first row, and goes forward: see slice, reverse"
            )
        chosen = self.slice(start, None if stop is None else max(stop - start, 0))
        return chosen if step == 1 else chosen.gather_every(step)

    def __contains__(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return name in self.schema

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "whether a Table is true is not known before it is computed: compare it with None, or ask "
            "head(1).gather().is_empty()"
        )

    def __len__(self) -> NoReturn:
        raise TypeError("how long a Table is is not known before it is computed: select(pl.len()).gather().item()")

    def __iter__(self) -> NoReturn:
        raise TypeError("a Table is not iterated over: gather().iter_rows(), or collect() for this rank's rows")

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}: {dtype}" for name, dtype in self.schema.items())
        return f"Table({columns}; {self.comm.size} rank{'s' if self.comm.size > 1 else ''}, lazy)"
