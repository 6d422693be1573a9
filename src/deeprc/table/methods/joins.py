"""Methods that put the rows of two tables side by side."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import polars as pl

from deeprc.errors import SpecError, valid_values
from deeprc.table.methods.planned import Planned, of_one_communicator
from deeprc.table.plan import nodes as plan
from deeprc.table.plan import row_nodes
from deeprc.table.schema import as_data_error


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
        nulls_equal: bool = False,
        coalesce: bool | None = None,
        validate: str = "m:m",
        maintain_order: str | None = None,
    ) -> Self:
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
            validate: "m:m" alone: that keys are unique is for `unique` and `n_unique` to say.
            maintain_order: None or "none" alone: rows lie where their keys are.

        Raises:
            SpecError: unknown `how`, keys given twice or not at all, `validate` or `maintain_order` other than these.
            DataError: a key column does not exist, or the types do not match.
        """
        if how not in get_args(plan.JoinHow):
            raise SpecError(f"unknown how={how!r}. {valid_values(str(how), get_args(plan.JoinHow), noun='join')}")
        if validate != "m:m":
            raise SpecError(
                f"validate={validate!r} is not checked by a join over ranks; compare select(pl.len()) with "
                "select(keys).unique() of the side whose keys have to be unique, or make them so by unique(keys)"
            )
        if maintain_order not in (None, "none"):
            raise SpecError(
                f"maintain_order={maintain_order!r}: a join over ranks keeps no order of rows; number them first "
                "by with_row_index(), and sort the result by the number"
            )
        other = of_one_communicator("join", self, other)
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

    def join_asof(
        self,
        other: Self,
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
    ) -> Self:
        """Join each row with the nearest of the other table, as `polars.LazyFrame.join_asof`.

        Both tables have to be sorted by `on`, all over or within each group of `by`. Rows keep their order
        without `by`, when each rank gets the rows of the other table that are near its own; with `by` groups meet
        by key, and order is not kept.

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
                check_sortedness=not lefts,
            )

        ons = (on or left_on or "", on or right_on or "")
        node = row_nodes.JoinAsof(self.node, other.node, lefts, rights, *ons, method)
        return self._next("join_asof", node)
