"""Methods that treat tables as sets of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Literal, Self, get_args

import polars as pl

from deeprc.errors import SpecError, valid_values
from deeprc.table.exchange.exchange import together
from deeprc.table.methods.aggregates import Aggregates
from deeprc.table.methods.planned import PlannedT, of_one_communicator
from deeprc.table.operators.rows import aligned
from deeprc.table.plan import nodes as plan
from deeprc.table.plan import row_nodes
from deeprc.table.schema import as_data_error
from deeprc.table.spill.stored import on_disk
from deeprc.table.stage import Execution, Stage, compute
from deeprc.workspace import memory_budget

How = Literal["vertical", "vertical_relaxed", "diagonal", "diagonal_relaxed", "horizontal"]
_HOWS = get_args(How)
_SIDE, _FIRST, _LAST = "__side__", "__first__", "__last__"


class Sets(Aggregates):
    """The rows of several tables together."""

    def union_all(self, *others: Self) -> Self:
        """The rows of all tables, which have the same columns. No rows move, and their order is not kept."""
        return concat([self, *others], in_order=False)

    def union(self, *others: Self) -> Self:
        """The distinct rows of all tables, in no order."""
        return self.union_all(*others).unique()

    def difference(self, other: Self) -> Self:
        """The distinct rows of this table that the other has not, in no order. Nulls are equal."""
        return self._sides(other).filter(pl.col(_LAST) == 0).drop(_FIRST, _LAST)

    def intersect(self, other: Self) -> Self:
        """The distinct rows that both tables have, in no order. Nulls are equal."""
        return self._sides(other).filter(pl.col(_FIRST) != pl.col(_LAST)).drop(_FIRST, _LAST)

    def merge_sorted(self, other: Self, key: str | Sequence[str], *, maintain_order: bool = False) -> Self:
        """The rows of two tables that are sorted by the key, sorted by it, as `polars.LazyFrame.merge_sorted`.

        Args:
            maintain_order: rows of equal keys are in the order of their table, this one's first.
        """
        return concat([self, other]).sort(key, maintain_order=maintain_order)

    def equals(self, other: Self, *, null_equal: bool = True, ordered: bool = True) -> bool:
        """Whether both tables have the same columns and rows; with `ordered=False` in any order. Collective.

        Nulls are equal, unless `null_equal` is False, and NaN are. Tables may be split over the ranks in any ways.
        """
        other = of_one_communicator("equals", self, other)
        if self.schema != other.schema:
            return False
        if not null_equal:
            nulls = self.filter(pl.any_horizontal(pl.all().is_null())).head(1)._part("comparing").height
            if any(self.comm.all_gather(nulls)):
                return False
        if ordered and self.columns and memory_budget() is not None:
            return self._equals_in_batches(other)
        run = Execution(self.comm, lambda node, run: Stage(pl.LazyFrame()))
        if ordered or not self.columns:
            own, others = (run.measure(table._part("comparing").lazy(), table.node) for table in (self, other))
            sizes, heights = ([rows for rows, _ in facts] for _, facts in (own, others))
            if sum(sizes) != sum(heights):
                return False
            moved = aligned(others[0], heights, sizes, run, "EQUALS")
            return all(self.comm.all_gather(own[0].equals(moved)))
        counts = self._sides(other, (pl.col(_SIDE) == 0).sum().alias(_FIRST), (pl.col(_SIDE) == 1).sum().alias(_LAST))
        differ = counts.filter(pl.col(_FIRST) != pl.col(_LAST)).select(_FIRST)._part("comparing").height
        return not any(self.comm.all_gather(differ))

    def _equals_in_batches(self, other: Self) -> bool:
        """Both tables on disk, and the other's rows moved to the ranks that have this one's of the same numbers."""
        with ExitStack() as stack:

            def stored(table: Self) -> tuple[pl.LazyFrame, list[int]]:
                rows = stack.enter_context(table._opened("comparing"))
                batches = iter([rows]) if isinstance(rows, pl.DataFrame) else rows
                frame = stack.enter_context(on_disk(batches, table.schema, self.comm))
                return frame, self.comm.all_gather(compute(frame.select(pl.len())).item())

            (mine, sizes), (theirs, heights) = stored(self), stored(other)
            if sum(sizes) != sum(heights):
                return False
            source = plan.Source("ROWS TO COMPARE", other.schema, lambda _: theirs)
            moved = type(self)(row_nodes.Repartition(source, tuple(sizes)), self.comm)
            rows = stack.enter_context(moved._opened("comparing"))
            batches = iter([rows]) if isinstance(rows, pl.DataFrame) else rows
            same, _ = together(self.comm, "comparing", lambda: _all_equal(mine, batches), lambda found: found)
            return all(self.comm.all_gather(same))

    def _sides(self, other: Self, *aggs: pl.Expr) -> Self:
        """The distinct rows of both tables, and for each the first and the last side that has it."""
        if not self.columns:
            raise SpecError("tables without columns have no rows to compare")
        marked = [
            table.with_columns(pl.lit(side, dtype=pl.Int8).alias(_SIDE)) for side, table in enumerate((self, other))
        ]
        halves = aggs or (pl.col(_SIDE).min().alias(_FIRST), pl.col(_SIDE).max().alias(_LAST))
        return marked[0].union_all(marked[1]).group_by(*self.columns).agg(*halves)


def _all_equal(rows: pl.LazyFrame, batches: Iterator[pl.DataFrame]) -> bool:
    """Whether the batches, of as many rows together, are these rows."""
    start = 0
    for batch in batches:
        if not compute(rows.slice(start, batch.height)).equals(batch):
            return False
        start += batch.height
    return True


def concat(
    tables: Iterable[PlannedT],
    *,
    how: How = "vertical",
    in_order: bool = True,
) -> PlannedT:
    """The rows of all tables, those of the first one first, split evenly; or as they lie, where order is no matter.

    Args:
        how: as in `polars.concat`. "vertical": all have the same columns; "diagonal": a column that a table has not is
            null there; with "_relaxed" types may differ, and become one that holds all. "horizontal": the columns
            of all, which have as many rows, side by side.
        in_order: whether the order of rows is kept.

    Raises:
        SpecError: no table is given, they are of several communicators, or `how` is unknown.
        DataError: the tables differ in columns or types; when it runs: side by side they differ in their rows.
    """
    given = list(tables)
    if not given:
        raise SpecError("concat takes at least one table")
    if how not in _HOWS:
        raise SpecError(
            f"unknown how={how!r}. {valid_values(str(how), _HOWS, noun='how')}. To align by keys use join(how='full')"
        )
    nodes = tuple(of_one_communicator("concat", given[0], table).node for table in given)
    if how == "horizontal":
        return given[0]._next("concat", row_nodes.Beside(nodes, broadcast=False))
    if how != "vertical":
        with as_data_error("concat"):
            frames = [pl.LazyFrame(schema=node.schema) for node in nodes]
            schema = pl.concat(frames, how=how).collect_schema()
        nodes = tuple(_of_schema(node, schema) for node in nodes)
    return given[0]._next("concat", row_nodes.Concat(nodes, in_order))


def _of_schema(node: plan.Node, schema: pl.Schema) -> plan.Node:
    """The node's rows with all columns of the schema; null where it has none."""
    if node.schema == schema and list(node.schema) == list(schema):
        return node
    columns = (
        pl.col(name).cast(dtype) if name in node.schema else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in schema.items()
    )
    return plan.Select(node, tuple(columns))
