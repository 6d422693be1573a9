"""The distributed table: Polars' lazy API, one partition a rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from deeprc.bridge import Dataset
from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import SpecError, valid_values
from deeprc.table import plan, plan_rows
from deeprc.table.exchange import gather, replicate, together
from deeprc.table.execute import run_plan
from deeprc.table.explain import explain
from deeprc.table.expressions import as_expressions, is_row_wise
from deeprc.table.groups import GroupBy, Windows
from deeprc.table.operators.rows import aligned
from deeprc.table.schema import as_data_error, checked
from deeprc.table.stage import Execution, Stage
from deeprc.table.writing import prepare, write_part

_SOLO = SoloCommunicator()
_SIDE, _FIRST, _LAST = "__side__", "__first__", "__last__"


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
        coalesce: bool | None = None,
    ) -> Table:
        """Join with another table of the same communicator, as `polars.LazyFrame.join`. Row order is not kept.

        Args:
            other: the right table; if small it is sent to all ranks, else both sides meet by key.
            on: column or expression, or a list of these, that both tables have.
            how: "inner", "left", "right", "full", "semi" (left rows with a match), "anti" (those without) or
                "cross" (every row with every row, no keys).
            left_on, right_on: in place of `on`, where the keys differ.
            suffix: for columns of the right table whose name the left one has.
            nulls_equal: whether a null key matches a null key.
            coalesce: whether both sides' keys become one column; None: all but "full" do so.

        Raises:
            SpecError: unknown `how`, or keys given twice, or not at all.
            DataError: a key column does not exist, or the types do not match.
        """
        if how not in get_args(plan.JoinHow):
            raise SpecError(f"unknown how={how!r}. {valid_values(str(how), get_args(plan.JoinHow), noun='join')}")
        other = _of_one_communicator("join", self, other)
        if how == "cross":
            if any(keys is not None for keys in (on, left_on, right_on)):
                raise SpecError("a cross join takes no keys: every row meets every row")
            return self._next("join", plan.Join(self.node, other.node, (), (), how, suffix))
        if (on is None) == (left_on is None and right_on is None) or (left_on is None) != (right_on is None):
            raise SpecError("join takes either on=, or both left_on= and right_on=")
        left_keys = self._expanded("join", [on if left_on is None else left_on])
        right_keys = other._expanded("join", [on if right_on is None else right_on])
        for side, table, keys in (("left", self, left_keys), ("right", other, right_keys)):
            with as_data_error(f"join, {side} keys", table.columns):
                pl.LazyFrame(schema=table.schema).select(*keys).collect_schema()
        node = plan.Join(self.node, other.node, left_keys, right_keys, how, suffix, nulls_equal, coalesce)
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

    def limit(self, n: int = 5) -> Table:
        """As `head`."""
        return self.head(n)

    def tail(self, n: int = 5) -> Table:
        """The last n rows of the whole table."""
        if n < 0:
            raise SpecError(f"tail(n) takes n >= 0, not {n}")
        return self.slice(-n, n) if n else self.head(0)

    def slice(self, offset: int, length: int | None = None) -> Table:
        """`length` rows (None: all) from number `offset` on; a negative offset counts from the end."""
        if length is not None and length < 0:
            raise SpecError(f"slice(offset, length) takes length >= 0, not {length}")
        return self._next("slice", plan_rows.Slice(self.node, offset, length))

    def top_k(self, k: int, *, by: Any, reverse: bool | Sequence[bool] = False) -> Table:
        """The k largest rows by the keys, on rank 0; nulls come last. Which of equal ones is not said."""
        return self._best("top_k", k, by, reverse, largest=True)

    def bottom_k(self, k: int, *, by: Any, reverse: bool | Sequence[bool] = False) -> Table:
        """The k smallest rows by the keys, on rank 0; nulls come last. Which of equal ones is not said."""
        return self._best("bottom_k", k, by, reverse, largest=False)

    def with_row_index(self, name: str = "index", offset: int = 0) -> Table:
        """Number the rows of the whole table in a new first column."""
        if offset < 0:
            raise SpecError(f"with_row_index takes offset >= 0, not {offset}")
        return self._next("with_row_index", plan_rows.RowIndex(self.node, name, offset))

    def sample(self, n: int | None = None, *, fraction: float | None = None, seed: int | None = None) -> Table:
        """Random rows without replacement, in the table's order; for one seed the same on any number of ranks.

        Args:
            n, fraction: how many rows, or which part of them (rounded down); one of the two.
            seed: None takes another one at each run.

        Raises:
            DataError: when it runs: n is more than the table has.
        """
        if (n is None) == (fraction is None) or (n or 0) < 0 or not 0 <= (fraction or 0) <= 1:
            raise SpecError(f"sample takes n >= 0 or a fraction in 0..1, one of them; not n={n}, fraction={fraction}")
        return self._next("sample", plan_rows.Sample(self.node, n, fraction, seed))

    def shuffle(self, *keys: Any, seed: int | None = None) -> Table:
        """Bring rows of equal keys to one rank; without keys, put all rows into a random order.

        The random order is for one seed the same on any number of ranks; None takes another one at each run.
        """
        if not keys:
            return self._next("shuffle", plan_rows.Permute(self.node, seed))
        if seed is not None:
            raise SpecError("shuffle takes keys, or a seed for a random order; not both")
        expressions = self._expanded("shuffle", keys)
        with as_data_error("shuffle", self.columns):
            pl.LazyFrame(schema=self.schema).select(*expressions).collect_schema()
        if not all(is_row_wise(key, self.schema) for key in expressions):
            raise SpecError("shuffle takes keys that each row has for itself: columns or row-wise expressions")
        return self._next("shuffle", plan_rows.ShuffleByKey(self.node, expressions))

    def repartition(self, sizes: Sequence[int] | None = None) -> Table:
        """Give each rank as many rows as the others, or `sizes[rank]` of them; their order is kept.

        Raises:
            DataError: when it runs: the sizes do not add up to the number of rows.
        """
        if sizes is not None and (len(sizes) != self.comm.size or any(size < 0 for size in sizes)):
            raise SpecError(f"repartition takes a number of rows for each of {self.comm.size} ranks, not {list(sizes)}")
        node = plan_rows.Repartition(self.node, None if sizes is None else tuple(sizes))
        return self._next("repartition", node)

    def drop_nulls(self, subset: Any = None) -> Table:
        """Drop rows with a null in `subset` (None: in any column)."""
        names = self.columns if subset is None else self._names("drop_nulls", (subset,))
        return self.filter(*(pl.col(name).is_not_null() for name in names)) if names else self

    def fill_nan(self, value: Any) -> Table:
        """Put a value in place of NaN, as `polars.LazyFrame.fill_nan`; a literal, not an expression."""
        if isinstance(value, pl.Expr):
            raise SpecError("fill_nan takes a value; for expressions use with_columns")
        return self._each("fill_nan", "FILL NAN", lambda frame: frame.fill_nan(value))

    def fill_null(self, value: Any = None, *, matches_supertype: bool = True) -> Table:
        """Put a value in place of nulls, as `polars.LazyFrame.fill_null`; a literal, not an expression."""
        if value is None or isinstance(value, pl.Expr):
            raise SpecError("fill_null takes a value; for expressions and strategies use with_columns")
        return self._each(
            "fill_null", "FILL NULL", lambda frame: frame.fill_null(value, matches_supertype=matches_supertype)
        )

    def cast(self, dtypes: Any, *, strict: bool = True) -> Table:
        """Change types: one for all columns, or {column or selector: type}, as `polars.LazyFrame.cast`."""
        with as_data_error("cast", self.columns):
            after = pl.LazyFrame(schema=self.schema).cast(dtypes, strict=strict).collect_schema()
        changed = [pl.col(name).cast(kind, strict=strict) for name, kind in after.items() if kind != self.schema[name]]
        return self.with_columns(*changed) if changed else self

    def unpivot(
        self, on: Any = None, *, index: Any = None, variable_name: str | None = None, value_name: str | None = None
    ) -> Table:
        """Columns into rows, as `polars.LazyFrame.unpivot`. Row order is not kept."""

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.unpivot(on, index=index, variable_name=variable_name, value_name=value_name)

        return self._next("unpivot", plan_rows.EachRow(self.node, "UNPIVOT", method))

    def value_counts(self, column: Any, *, name: str = "count") -> Table:
        """How often each value of a column or row-wise expression occurs, in no order."""
        return self.group_by(column).agg(pl.len().alias(name))

    def pivot(
        self,
        on: str,
        on_columns: Sequence[Any],
        *,
        index: Any,
        values: Any,
        aggregate_function: Any = None,
        separator: str = "_",
    ) -> Table:
        """Rows into columns, one for each of `on_columns`, as `polars.LazyFrame.pivot`. Row order is not kept."""
        names = self._names("pivot", (index,))

        def method(frame: pl.LazyFrame) -> pl.LazyFrame:
            return frame.pivot(
                on,
                on_columns,
                index=list(names),
                values=values,
                aggregate_function=aggregate_function,
                separator=separator,
            )

        return self._next("pivot", self._keyed("PIVOT", names, method))

    def group_by_dynamic(self, index_column: str, *, every: Any, group_by: Any = None, **options: Any) -> Windows:
        """Group by windows of time or numbers; `.agg(...)` follows, as `polars.LazyFrame.group_by_dynamic`.

        The table has to be sorted by `index_column`, within each group of `group_by` where that is given; groups
        then meet by key and row order is not kept. Without `group_by` rank 0 computes. `options` are Polars'.
        """
        names = () if group_by is None else self._names("group_by_dynamic", (group_by,))
        options = {**options, "every": every, "group_by": list(names) or None}
        return Windows(self, names, "group_by_dynamic", index_column, options)

    def rolling(self, index_column: str, *, period: Any, group_by: Any = None, **options: Any) -> Windows:
        """For each row the rows of the window that ends with it; `.agg(...)` follows, as `polars.LazyFrame.rolling`.

        Sorted, grouped and placed as with `group_by_dynamic`.
        """
        names = () if group_by is None else self._names("rolling", (group_by,))
        options = {**options, "period": period, "group_by": list(names) or None}
        return Windows(self, names, "rolling", index_column, options)

    def union_all(self, *others: Table) -> Table:
        """The rows of all tables, which have the same columns. No rows move, and their order is not kept."""
        return concat([self, *others], in_order=False)

    def union(self, *others: Table) -> Table:
        """The distinct rows of all tables, in no order."""
        return self.union_all(*others).unique()

    def difference(self, other: Table) -> Table:
        """The distinct rows of this table that the other has not, in no order. Nulls are equal."""
        return self._sides(other).filter(pl.col(_LAST) == 0).drop(_FIRST, _LAST)

    def intersect(self, other: Table) -> Table:
        """The distinct rows that both tables have, in no order. Nulls are equal."""
        return self._sides(other).filter(pl.col(_FIRST) != pl.col(_LAST)).drop(_FIRST, _LAST)

    def equals(self, other: Table, *, ordered: bool = True) -> bool:
        """Whether both tables have the same columns and rows; with `ordered=False` in any order. Collective.

        Nulls are equal, and NaN are. Tables may be split over the ranks in different ways.
        """
        other = _of_one_communicator("equals", self, other)
        if self.schema != other.schema:
            return False
        run = Execution(self.comm, lambda node, run: Stage(pl.LazyFrame()))
        if ordered or not self.columns:
            mine, theirs = (run.measure(table._part("comparing").lazy(), table.node) for table in (self, other))
            sizes, heights = ([rows for rows, _ in facts] for _, facts in (mine, theirs))
            if sum(sizes) != sum(heights):
                return False
            moved = aligned(theirs[0], heights, sizes, run, "EQUALS")
            return all(self.comm.all_gather(mine[0].equals(moved)))
        counts = self._sides(other, (pl.col(_SIDE) == 0).sum().alias(_FIRST), (pl.col(_SIDE) == 1).sum().alias(_LAST))
        differ = counts.filter(pl.col(_FIRST) != pl.col(_LAST)).select(_FIRST)._part("comparing").height
        return not any(self.comm.all_gather(differ))

    def join_asof(
        self,
        other: Table,
        *,
        on: str | None = None,
        left_on: str | None = None,
        right_on: str | None = None,
        by: Any = None,
        by_left: Any = None,
        by_right: Any = None,
        strategy: Literal["backward", "forward", "nearest"] = "backward",
        suffix: str = "_right",
        tolerance: Any = None,
        coalesce: bool = True,
        allow_exact_matches: bool = True,
    ) -> Table:
        """Join each row with the nearest of the other table, as `polars.LazyFrame.join_asof`.

        Both tables have to be sorted by `on`, all over or within each group of `by`. Rows keep their order
        without `by`, when the other table goes to all ranks; with `by` groups meet by key, and order is not kept.
        """
        other = _of_one_communicator("join_asof", self, other)
        lefts = (
            () if by is None and by_left is None else self._names("join_asof", (by if by_left is None else by_left,))
        )
        rights = (
            ()
            if by is None and by_right is None
            else other._names("join_asof", (by if by_right is None else by_right,))
        )

        def method(left: pl.LazyFrame, right: pl.LazyFrame) -> pl.LazyFrame:
            return left.join_asof(
                right,
                on=on,
                left_on=left_on,
                right_on=right_on,
                by_left=list(lefts) or None,
                by_right=list(rights) or None,
                strategy=strategy,
                suffix=suffix,
                tolerance=tolerance,
                coalesce=coalesce,
                allow_exact_matches=allow_exact_matches,
                check_sortedness=not lefts,
            )

        node = plan_rows.JoinAsof(self.node, other.node, lefts, rights, on or f"{left_on} = {right_on}", method)
        return self._next("join_asof", node)

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
        prepare(folder, self.comm)
        return write_part(self._part(f"writing {folder}"), folder, self.comm)

    def explain(self) -> str:
        """The plan as text: operators, what each exchange moves, and where each reads from."""
        return explain(self.node, self.comm.size)

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}: {dtype}" for name, dtype in self.schema.items())
        return f"Table({columns}; {self.comm.size} rank{'s' if self.comm.size > 1 else ''}, lazy)"

    def _keyed(
        self, label: str, names: Sequence[str], method: Callable[[pl.LazyFrame], pl.LazyFrame]
    ) -> plan_rows.Keyed:
        return plan_rows.Keyed(self.node, label, tuple(pl.col(name) for name in names), method)

    def _best(self, operator: str, k: int, by: Any, reverse: bool | Sequence[bool], *, largest: bool) -> Table:
        if k < 0:
            raise SpecError(f"{operator}(k) takes k >= 0, not {k}")
        keys = self._expanded(operator, [by])
        flags = _for_each(reverse, len(keys), "reverse")
        return self._next(operator, plan_rows.TopK(self.node, k, keys, flags, largest))

    def _each(self, operator: str, label: str, method: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Table:
        return self._next(operator, plan_rows.Each(self.node, label, method))

    def _sides(self, other: Table, *aggs: pl.Expr) -> Table:
        """The distinct rows of both tables, and for each the first and the last side that has it."""
        if not self.columns:
            raise SpecError("tables without columns have no rows to compare")
        marked = [
            table.with_columns(pl.lit(side, dtype=pl.Int8).alias(_SIDE)) for side, table in enumerate((self, other))
        ]
        halves = aggs or (pl.col(_SIDE).min().alias(_FIRST), pl.col(_SIDE).max().alias(_LAST))
        return marked[0].union_all(marked[1]).group_by(*self.columns).agg(*halves)

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


def concat(tables: Iterable[Table], *, in_order: bool = True) -> Table:
    """The rows of all tables, those of the first one first, split evenly; or as they lie, where order is no matter.

    Raises:
        SpecError: no table is given, or they are of several communicators.
        DataError: the tables differ in columns or types.
    """
    given = list(tables)
    if not given:
        raise SpecError("concat takes at least one table")
    nodes = tuple(_of_one_communicator("concat", given[0], table).node for table in given)
    return given[0]._next("concat", plan_rows.Concat(nodes, in_order))


def _of_one_communicator(operator: str, table: Table, other: Any) -> Table:
    if not isinstance(other, Table):
        raise SpecError(f"{operator} takes a Table, not {type(other).__name__}; deeprc.from_polars makes one")
    if other.comm is not table.comm and (other.comm.size, table.comm.size) != (1, 1):
        raise SpecError(
            f"{operator} takes two tables of one communicator: pass the task's communicator to the function that makes "
            "the other table too, as in deeprc.from_polars(frame, comm)"
        )
    return other


def _for_each(flag: bool | Sequence[bool], count: int, name: str) -> tuple[bool, ...]:
    if isinstance(flag, bool):
        return (flag,) * count
    if len(flag) != count:
        raise SpecError(f"{name} has {len(flag)} values for {count} sort keys; give one, or one for each")
    return tuple(flag)
