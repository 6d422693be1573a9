"""The distributed table: Polars' lazy API, one partition a rank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import polars as pl

from deeprc.bridge import Dataset
from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import DataError, SpecError, valid_values
from deeprc.table import plan
from deeprc.table.exchange import gather, replicate, together
from deeprc.table.execute import run_plan
from deeprc.table.explain import explain
from deeprc.table.expressions import as_expressions
from deeprc.table.schema import as_data_error, checked

_SOLO = SoloCommunicator()


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A lazy table, one partition on each rank of `comm`; rows are ordered by (rank, row).

    Methods that make a table return at once, and raise DataError for unknown columns and wrong types before
    any work starts. `collect`, `gather`, `persist` and `write_parquet` work, and are collective: all ranks
    call them, in the same order.
    """

    node: plan.Node
    comm: Communicator = _SOLO

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the columns."""
        return self.node.schema

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.schema.names()

    def filter(self, *predicates: Any, **constraints: Any) -> Table:
        """Keep the rows for which all predicates hold, as `polars.LazyFrame.filter`."""
        equal = tuple(pl.col(name) == value for name, value in constraints.items())
        return self._next("filter", plan.Filter(self.node, (*as_expressions(predicates), *equal)))

    def select(self, *exprs: Any, **named: Any) -> Table:
        """Compute columns, as `polars.LazyFrame.select`. Aggregates alone give one row, on rank 0."""
        return self._next("select", plan.Select(self.node, as_expressions(exprs, named)))

    def with_columns(self, *exprs: Any, **named: Any) -> Table:
        """Add or replace columns, as `polars.LazyFrame.with_columns`."""
        return self._next("with_columns", plan.WithColumns(self.node, as_expressions(exprs, named)))

    def rename(self, mapping: Mapping[str, str]) -> Table:
        """Rename columns: {old: new}."""
        return self._next("rename", plan.Rename(self.node, dict(mapping)))

    def drop(self, *columns: Any) -> Table:
        """Leave columns out: names or selectors."""
        return self._next("drop", plan.Drop(self.node, self._names("drop", columns)))

    def head(self, n: int = 5) -> Table:
        """The first n rows of the whole table."""
        if n < 0:
            raise SpecError(f"head(n) takes n >= 0, not {n}")
        return self._next("head", plan.Head(self.node, n))

    def join(
        self,
        other: Table,
        on: Any = None,
        how: plan.JoinHow = "inner",
        *,
        left_on: Any = None,
        right_on: Any = None,
        suffix: str = "_right",
        nulls_equal: bool = False,
    ) -> Table:
        """Join with another table of the same communicator, as `polars.LazyFrame.join`. Row order is not kept.

        Args:
            other: the right table; if small it is sent to all ranks, else both sides meet by key.
            on: column or expression, or a list of these, that both tables have.
            how: "inner" or "left".
            left_on, right_on: in place of `on`, where the keys differ.
            suffix: for columns of the right table whose name the left one has.
            nulls_equal: whether a null key matches a null key.

        Raises:
            SpecError: unknown `how`, or keys given twice, or not at all.
            DataError: a key column does not exist, or the types do not match.
        """
        if how not in get_args(plan.JoinHow):
            raise SpecError(f"unknown how={how!r}. {valid_values(str(how), get_args(plan.JoinHow), noun='join')}")
        if not isinstance(other, Table):
            raise SpecError(f"join takes a Table, not {type(other).__name__}; deeprc.from_polars makes one")
        if other.comm is not self.comm and (other.comm.size, self.comm.size) != (1, 1):
            raise SpecError(
                "join takes two tables of one communicator: pass the task's communicator to the function that makes "
                "the other table too, as in deeprc.from_polars(frame, comm)"
            )
        if (on is None) == (left_on is None and right_on is None) or (left_on is None) != (right_on is None):
            raise SpecError("join takes either on=, or both left_on= and right_on=")
        left_keys = self._expanded("join", [on if left_on is None else left_on])
        right_keys = other._expanded("join", [on if right_on is None else right_on])
        for side, table, keys in (("left", self, left_keys), ("right", other, right_keys)):
            with as_data_error(f"join, {side} keys", table.columns):
                pl.LazyFrame(schema=table.schema).select(*keys).collect_schema()
        node = plan.Join(self.node, other.node, left_keys, right_keys, how, suffix, nulls_equal)
        return self._next("join", node)

    def group_by(self, *keys: Any, maintain_order: bool = False, **named: Any) -> GroupBy:
        """Group by columns or expressions; `.agg(...)` follows, as in Polars.

        Args:
            keys, named: columns or row-wise expressions.
            maintain_order: give groups in the order of their first rows.
        """
        expressions = (*self._expanded("group_by", keys), *as_expressions((), named))
        if not expressions:
            raise SpecError("group_by takes at least one key; for the whole table use select(...)")
        with as_data_error("group_by", self.columns):
            pl.LazyFrame(schema=self.schema).select(*expressions).collect_schema()
        return GroupBy(self, expressions, maintain_order)

    def sort(
        self,
        by: Any,
        *more: Any,
        descending: bool | Sequence[bool] = False,
        nulls_last: bool | Sequence[bool] = False,
        maintain_order: bool = False,
    ) -> Table:
        """Sort by columns or expressions into a total order over all ranks, rank 0 first.

        Args:
            by, more: the keys, most significant first.
            descending, nulls_last: for all keys, or one value for each.
            maintain_order: keep the order of rows with equal keys.
        """
        expressions = self._expanded("sort", (by, *more))
        node = plan.Sort(
            self.node,
            expressions,
            _for_each(descending, len(expressions), "descending"),
            _for_each(nulls_last, len(expressions), "nulls_last"),
            maintain_order,
        )
        return self._next("sort", node)

    def unique(self, subset: Any = None, *, keep: plan.Keep = "any", maintain_order: bool = False) -> Table:
        """Keep one of the rows that are equal in `subset` (None: in all columns).

        Args:
            subset: column names or selectors.
            keep: "first", "last", "any" of them, or "none", which drops all that have an equal.
            maintain_order: keep the order of rows.
        """
        if keep not in get_args(plan.Keep):
            raise SpecError(f"unknown keep={keep!r}. {valid_values(str(keep), get_args(plan.Keep), noun='keep')}")
        names = None if subset is None else self._names("unique", (subset,))
        return self._next("unique", plan.Unique(self.node, names, keep, maintain_order))

    def collect(self) -> pl.DataFrame:
        """Compute; return this rank's rows. Collective."""
        return self._part("collecting")

    def gather(self, root: int | None = None) -> pl.DataFrame:
        """Compute; return all ranks' rows in order, on every rank or on `root` alone (no rows elsewhere)."""
        if root is not None and not 0 <= root < self.comm.size:
            raise SpecError(f"root={root} is not a rank: there are {self.comm.size}, from 0")
        part = self._part("gathering")
        if self.comm.size == 1:
            return part
        if root is None:
            return replicate(part, self.comm, "GATHER")
        return gather(part, self.comm, "GATHER", root)

    def persist(self, name: str = "table") -> Dataset:
        """Compute; write each rank's rows as a part of one dataset, which every rank gets. Collective."""
        return Dataset.from_polars(self._part(f"persisting {name!r}"), name=name, comm=self.comm)

    def write_parquet(self, directory: str | Path) -> list[Path]:
        """Compute; write one file for each rank into `directory`; return all their paths, in order. Collective.

        Raises:
            DataError: the directory holds Parquet files that would stay beside the table's; nothing was computed.
        """
        folder = Path(directory)
        ours = {f"part-{rank:05d}.parquet" for rank in range(self.comm.size)}
        together(self.comm, f"looking into {folder}", lambda: _refuse_others(folder, ours), lambda _: None)
        part = self._part(f"writing {folder}")

        def write() -> Path:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"part-{self.comm.rank:05d}.parquet"
            unfinished = path.with_suffix(".parquet.unfinished")
            try:
                part.write_parquet(unfinished)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
            return path

        return together(self.comm, f"writing {folder}", write, lambda path: path)[1]

    def explain(self) -> str:
        """The plan as text: operators, what each exchange moves, and where each reads from."""
        return explain(self.node, self.comm.size)

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}: {dtype}" for name, dtype in self.schema.items())
        return f"Table({columns}; {self.comm.size} rank{'s' if self.comm.size > 1 else ''}, lazy)"

    def _part(self, doing: str) -> pl.DataFrame:
        return together(self.comm, doing, lambda: run_plan(self.node, self.comm), lambda _: None)[0]

    def _next(self, operator: str, node: plan.Node) -> Table:
        with as_data_error(operator, self.columns):
            checked(node.schema)
        return Table(node, self.comm)

    def _expanded(self, operator: str, inputs: Iterable[Any]) -> tuple[pl.Expr, ...]:
        """Expressions, with a selector replaced by the columns it selects."""
        expressions: list[pl.Expr] = []
        for expression in as_expressions(inputs):
            if expression.meta.is_column_selection() and not expression.meta.is_column():
                with as_data_error(operator, self.columns):
                    names = pl.LazyFrame(schema=self.schema).select(expression).collect_schema()
                expressions.extend(pl.col(name) for name in names)
            else:
                expressions.append(expression)
        return tuple(expressions)

    def _names(self, operator: str, columns: Iterable[Any]) -> tuple[str, ...]:
        with as_data_error(operator, self.columns):
            return tuple(pl.LazyFrame(schema=self.schema).select(*as_expressions(columns)).collect_schema())


@dataclass(frozen=True)
class GroupBy:
    """A table and the keys to group it by."""

    table: Table
    keys: tuple[pl.Expr, ...]
    maintain_order: bool

    def agg(self, *exprs: Any, **named: Any) -> Table:
        """Aggregate each group with any Polars expressions, exactly."""
        node = plan.GroupBy(self.table.node, self.keys, as_expressions(exprs, named), self.maintain_order)
        return self.table._next("group_by.agg", node)

    def len(self, name: str = "len") -> Table:
        """The number of rows of each group."""
        return self.agg(pl.len().alias(name))


def _refuse_others(folder: Path, ours: set[str]) -> None:
    """A later scan of the folder would take another table's files for this one's."""
    others = sorted(path.name for path in folder.glob("*.parquet") if path.name not in ours)
    if others:
        raise DataError(f"{folder} holds {', '.join(others[:3])} of another table: remove it, or choose another folder")


def _for_each(flag: bool | Sequence[bool], count: int, name: str) -> tuple[bool, ...]:
    if isinstance(flag, bool):
        return (flag,) * count
    if len(flag) != count:
        raise SpecError(f"{name} has {len(flag)} values for {count} sort keys; give one, or one for each")
    return tuple(flag)
