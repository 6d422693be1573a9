"""Methods that put the rows of two tables side by side."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import polars as pl

from deeprc.errors import SpecError, valid_values
from deeprc.table.methods.planned import Planned, of_one_communicator
from deeprc.table.plan import nodes as plan
from deeprc.table.plan import row_nodes
from deeprc.table.schema import as_data_error

Validation = Literal["m:m", "m:1", "1:m", "1:1"]
MaintainOrder = Literal["none", "left", "right", "left_right", "right_left"]


class Joins(Planned):
    """Rows of this table with those of another."""

    def join(
        self,
        other: Self,
        on: Any = None,
        how: plan.JoinHow = "inner",
        *,
        left_on: Any = None,
        right_on: Any = None,
        suffix: str = "_right",
        validate: Validation = "m:m",
        nulls_equal: bool = False,
        coalesce: bool | None = None,
        maintain_order: MaintainOrder | None = None,
        build_side: str = "auto",
        allow_parallel: bool = True,
        force_parallel: bool = False,
    ) -> Self:
        """Join with another table of the same communicator, as `polars.LazyFrame.join`. Row order is not kept.

        Args:
            other: the right table; if small it is sent to all ranks, else both sides meet by key.
            on: column or expression, or a list of these, that both tables have.
            how: "inner", "left", "right", "full", "semi" (left rows with a match), "anti" (those without) or
                "cross" (every row with every row, no keys).
            left_on, right_on: in place of `on`, where the keys differ.
            suffix: for columns of the right table whose name the left one has.
            validate: which keys have to be unique: "1:m" the left table's, "m:1" the right one's, "1:1" both's,
                "m:m" none. The keys of that side meet by hash for it.
            nulls_equal: whether a null key matches a null key.
            coalesce: whether both sides' keys become one column; None: all but "full" do so.
            maintain_order: the order of the result: that of the "left" table, of the "right" one, or of both,
                "left_right" or "right_left"; the result is sorted for it. None or "none": as rows come to lie.
            build_side, allow_parallel, force_parallel: Polars' hints for one process; not used.

        Raises:
            SpecError: unknown `how`, `validate` or `maintain_order`; keys given twice or not at all.
            DataError: a key column does not exist, or the types do not match; when it runs: keys are not as
                `validate` says, on all ranks alike.
        """
        for value, known, noun in (
            (how, plan.JoinHow, "join"),
            (validate, Validation, "validation"),
            (maintain_order or "none", MaintainOrder, "order"),
        ):
            if value not in get_args(known):
                raise SpecError(f"unknown {noun} {value!r}. {valid_values(str(value), get_args(known), noun=noun)}")
        other = of_one_communicator("join", self, other)
        if maintain_order not in (None, "none"):
            options = {"suffix": suffix, "validate": validate, "nulls_equal": nulls_equal, "coalesce": coalesce}
            keys = {"on": on, "left_on": left_on, "right_on": right_on}
            return self._in_order(other, str(maintain_order), {**keys, "how": how, **options})
        if how == "cross":
            if any(keys is not None for keys in (on, left_on, right_on)) or validate != "m:m":
                raise SpecError("a cross join takes no keys, and none to validate: every row meets every row")
            return self._next("join", plan.Join(self.node, other.node, (), (), how, suffix))
        lefts, rights = self._keys(other, on, left_on, right_on)
        sides = (
            _checked(self.node, lefts, "left", validate, nulls_equal),
            _checked(other.node, rights, "right", validate, nulls_equal),
        )
        return self._next("join", plan.Join(*sides, lefts, rights, how, suffix, nulls_equal, coalesce))

    def _keys(
        self, other: Self, on: Any, left_on: Any, right_on: Any
    ) -> tuple[tuple[pl.Expr, ...], tuple[pl.Expr, ...]]:
        if (on is None) == (left_on is None and right_on is None) or (left_on is None) != (right_on is None):
            raise SpecError("join takes either on=, or both left_on= and right_on=")
        lefts = self._expanded("join", [on if left_on is None else left_on])
        rights = other._expanded("join", [on if right_on is None else right_on])
        for side, table, keys in (("left", self, lefts), ("right", other, rights)):
            with as_data_error(f"join, {side} keys", table.columns):
                pl.LazyFrame(schema=table.schema).select(*keys).collect_schema()
        return lefts, rights

    def _in_order(self, other: Self, order: str, options: dict[str, Any]) -> Self:
        """The rows of both tables are numbered, and the joined ones sorted by the numbers."""
        sides = order.split("_")
        left, right = (
            table._next("join", row_nodes.RowIndex(table.node, f"__{side}_row", 0)) if side in sides else table
            for side, table in (("left", self), ("right", other))
        )
        joined = left.join(right, **options)
        numbers = [f"__{side}_row" for side in sides if f"__{side}_row" in joined.schema]
        if not numbers:
            return joined
        by, flags = tuple(pl.col(name) for name in numbers), (False,) * len(numbers)
        ordered = plan.Sort(joined.node, by, flags, (True,) * len(numbers))
        return self._next("join", plan.Drop(ordered, tuple(numbers)))

    def join_asof(
        self,
        other: Self,
        *,
        left_on: str | None = None,
        right_on: str | None = None,
        on: str | None = None,
        by_left: Any = None,
        by_right: Any = None,
        by: Any = None,
        strategy: Literal["backward", "forward", "nearest"] = "backward",
        suffix: str = "_right",
        tolerance: Any = None,
        allow_parallel: bool = True,
        force_parallel: bool = False,
        coalesce: bool = True,
        allow_exact_matches: bool = True,
        check_sortedness: bool = True,
    ) -> Self:
        """Join each row with the nearest of the other table, as `polars.LazyFrame.join_asof`.

        Both tables have to be sorted by `on`, all over or within each group of `by`. Rows keep their order
        without `by`, when each rank gets the rows of the other table that are near its own; with `by` groups meet
        by key, and order is not kept. `allow_parallel` and `force_parallel`, Polars' hints for one process, are not
        used; `check_sortedness` is, with one rank: several always look, as they go by the order.

        Raises:
            SpecError: neither `on` nor both `left_on` and `right_on`.
            DataError: a column does not exist; when it runs on several ranks: a table is not sorted, and there is
                no `by`.
        """
        if (on is None) == (left_on is None and right_on is None) or (left_on is None) != (right_on is None):
            raise SpecError("join_asof takes either on=, or both left_on= and right_on=")
        other = of_one_communicator("join_asof", self, other)
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
                check_sortedness=check_sortedness and not lefts,
            )

        ons = (on or left_on or "", on or right_on or "")
        node = row_nodes.JoinAsof(self.node, other.node, lefts, rights, *ons, method)
        return self._next("join_asof", node)


def _checked(node: plan.Node, keys: tuple[pl.Expr, ...], side: str, validate: str, nulls_equal: bool) -> plan.Node:
    """The rows of a side, whose keys are looked at where they have to be unique."""
    if validate.split(":")[side == "right"] == "m":
        return node
    return row_nodes.Unrepeated(node, keys, nulls_equal, side)
