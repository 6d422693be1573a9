"""Methods that choose, number, order and place rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, get_args

import polars as pl

from deeprc.errors import SpecError, valid_values
from deeprc.table.methods.planned import Planned, for_each
from deeprc.table.plan import nodes as plan
from deeprc.table.plan import row_nodes
from deeprc.table.plan.expressions import is_row_wise
from deeprc.table.schema import as_data_error

_NUMBER = "__number__"


class Rows(Planned):
    """Which rows a table has, in which order, on which ranks."""

    def head(self, n: int = 5) -> Self:
        """The first n rows of the whole table."""
        if n < 0:
            raise SpecError(f"head(n) takes n >= 0, not {n}")
        return self._next("head", plan.Head(self.node, n))

    def clear(self, n: int = 0) -> Self:
        """A table of the same columns with n rows of nulls, on rank 0."""
        rows = pl.DataFrame(schema=self.schema).clear(n if self.comm.rank == 0 else 0)
        source = plan.Source(f"{n} ROWS OF NULLS", self.schema, lambda _: rows.lazy())
        return self._next("clear", source)

    def limit(self, n: int = 5) -> Self:
        """As `head`."""
        return self.head(n)

    def tail(self, n: int = 5) -> Self:
        """The last n rows of the whole table."""
        if n < 0:
            raise SpecError(f"tail(n) takes n >= 0, not {n}")
        return self.slice(-n, n) if n else self.head(0)

    def first(self) -> Self:
        """The first row of the whole table."""
        return self.head(1)

    def last(self) -> Self:
        """The last row of the whole table."""
        return self.tail(1)

    def gather_every(self, n: int, offset: int = 0) -> Self:
        """Each n-th row of the whole table, from number `offset` on."""
        if n < 1 or offset < 0:
            raise SpecError(f"gather_every(n, offset) takes n >= 1 and offset >= 0, not {n} and {offset}")
        number = pl.col(_NUMBER)
        chosen = (number >= offset, (number - offset) % n == 0)
        numbered = plan.Filter(row_nodes.RowIndex(self.node, _NUMBER, 0), chosen)
        return self._next("gather_every", plan.Drop(numbered, (_NUMBER,)))

    def reverse(self) -> Self:
        """The last row first. Rows go to the rank that is as far from the other end."""
        return self._next("reverse", row_nodes.Reverse(self.node))

    def slice(self, offset: int, length: int | None = None) -> Self:
        """`length` rows (None: all) from number `offset` on; a negative offset counts from the end."""
        if length is not None and length < 0:
            raise SpecError(f"slice(offset, length) takes length >= 0, not {length}")
        return self._next("slice", row_nodes.Slice(self.node, offset, length))

    def top_k(self, k: int, *, by: Any, reverse: bool | Sequence[bool] = False) -> Self:
        """The k largest rows by the keys, on rank 0; nulls come last. Which of equal ones is not said."""
        return self._best("top_k", k, by, reverse, largest=True)

    def bottom_k(self, k: int, *, by: Any, reverse: bool | Sequence[bool] = False) -> Self:
        """The k smallest rows by the keys, on rank 0; nulls come last. Which of equal ones is not said."""
        return self._best("bottom_k", k, by, reverse, largest=False)

    def with_row_index(self, name: str = "index", offset: int = 0) -> Self:
        """Number the rows of the whole table in a new first column."""
        if offset < 0:
            raise SpecError(f"with_row_index takes offset >= 0, not {offset}")
        return self._next("with_row_index", row_nodes.RowIndex(self.node, name, offset))

    def sort(
        self,
        by: Any,
        *more_by: Any,
        descending: bool | Sequence[bool] = False,
        nulls_last: bool | Sequence[bool] = False,
        maintain_order: bool = False,
        multithreaded: bool = True,
    ) -> Self:
        """Sort by columns or expressions into a total order over all ranks, rank 0 first.

        Args:
            by, more_by: the keys, most significant first.
            descending, nulls_last: for all keys, or one value for each.
            maintain_order: keep the order of rows with equal keys.
            multithreaded: Polars' hint for one process; not used.
        """
        expressions = self._expanded("sort", (by, *more_by))
        node = plan.Sort(
            self.node,
            expressions,
            for_each(descending, len(expressions), "descending"),
            for_each(nulls_last, len(expressions), "nulls_last"),
            maintain_order,
        )
        return self._next("sort", node)

    def unique(self, subset: Any = None, *, keep: plan.Keep = "any", maintain_order: bool = False) -> Self:
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

    def sample(
        self,
        n: int | None = None,
        *,
        fraction: float | None = None,
        with_replacement: bool = False,
        shuffle: bool | None = None,
        seed: int | None = None,
    ) -> Self:
        """Random rows; for one seed the same on any number of ranks.

        Args:
            n, fraction: how many rows, or which part of them (rounded down); one of the two.
            with_replacement: whether a row may be taken more than once.
            shuffle: put them into a random order; else, None too, they are in the table's.
            seed: None takes another one at each run.

        Raises:
            DataError: when it runs: without replacement n is more than the table has.
        """
        most = float("inf") if with_replacement else 1
        if (n is None) == (fraction is None) or (n or 0) < 0 or not 0 <= (fraction or 0) <= most:
            raise SpecError(
                f"sample takes n >= 0 or a fraction in 0..1 (with replacement any), one of them; not n={n}, "
                f"fraction={fraction}"
            )
        rows = self._next("sample", row_nodes.Sample(self.node, n, fraction, seed, with_replacement))
        return rows.shuffle(seed=None if seed is None else seed + 1) if shuffle else rows

    def shuffle(self, *keys: Any, seed: int | None = None) -> Self:
        """Bring rows of equal keys to one rank; without keys, put all rows into a random order.

        The random order is for one seed the same on any number of ranks; None takes another one at each run.
        """
        if not keys:
            return self._next("shuffle", row_nodes.Permute(self.node, seed))
        if seed is not None:
            raise SpecError("shuffle takes keys, or a seed for a random order; not both")
        expressions = self._expanded("shuffle", keys)
        with as_data_error("shuffle", self.columns):
            pl.LazyFrame(schema=self.schema).select(*expressions).collect_schema()
        if not all(is_row_wise(key, self.schema) for key in expressions):
            raise SpecError("shuffle takes keys that each row has for itself: columns or row-wise expressions")
        return self._next("shuffle", row_nodes.ShuffleByKey(self.node, expressions))

    def repartition(self, sizes: Sequence[int] | None = None) -> Self:
        """Give each rank as many rows as the others, or `sizes[rank]` of them; their order is kept.

        Raises:
            DataError: when it runs: the sizes do not add up to the number of rows.
        """
        if sizes is not None and (len(sizes) != self.comm.size or any(size < 0 for size in sizes)):
            raise SpecError(f"repartition takes a number of rows for each of {self.comm.size} ranks, not {list(sizes)}")
        node = row_nodes.Repartition(self.node, None if sizes is None else tuple(sizes))
        return self._next("repartition", node)

    def _best(self, operator: str, k: int, by: Any, reverse: bool | Sequence[bool], *, largest: bool) -> Self:
        if k < 0:
            raise SpecError(f"{operator}(k) takes k >= 0, not {k}")
        keys = self._expanded(operator, [by])
        flags = for_each(reverse, len(keys), "reverse")
        return self._next(operator, row_nodes.TopK(self.node, k, keys, flags, largest))
