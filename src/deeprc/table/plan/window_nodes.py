"""Nodes that add columns computed from other rows than their own, each with its own way to do so on many ranks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from polars._utils.convert import parse_as_duration_string

from deeprc.table.plan.nodes import WithColumns
from deeprc.table.plan.row_nodes import Rows


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


@dataclass(frozen=True, eq=False)
class Ranked(Around):
    """Places of values in the order of all of them."""

    @property
    def moves(self) -> str:
        return "values by range of their order, and their ranks back"

    def label(self) -> str:
        return f"RANKS {self._listed}"


@dataclass(frozen=True, eq=False)
class Interpolated(Around):
    """Nulls between two values, on the line between these."""

    @property
    def moves(self) -> str:
        return "two rows a rank to all ranks; columns read by range of unsorted ones that they are interpolated by"

    def label(self) -> str:
        return f"INTERPOLATE {self._listed}"


@dataclass(frozen=True, eq=False)
class Numbered(Around):
    """The numbers of the rows."""

    @property
    def moves(self) -> str:
        return "how many rows each rank has"

    def label(self) -> str:
        return f"ROW NUMBERS {self._listed}"


@dataclass(frozen=True, eq=False)
class InTime(Around):
    """Columns that depend on the rows of the `window` of time that ends with a row."""

    window: str

    @property
    def moves(self) -> str:
        return f"the rows of {self.window} before each rank's part; columns read by range of times that are not sorted"

    def label(self) -> str:
        return f"WINDOW IN TIME {self._listed}"


@dataclass(frozen=True, eq=False)
class TimeWindows(Rows):
    """`rolling` or `group_by_dynamic` over the whole table, which is sorted by `index`."""

    operator: Literal["group_by_dynamic", "rolling"]
    index: str
    options: Mapping[str, Any]
    aggs: tuple[pl.Expr, ...]

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        groups: Any = getattr(frames[0], self.operator)(self.index, **self.options)
        result: pl.LazyFrame = groups.agg(*self.aggs)
        if self.operator == "rolling" and self.options.get("group_by"):
            # The streaming engine would go on to take the column for sorted, as it was before, and miss equal keys.
            result = result.with_columns(pl.coalesce(self.index, pl.lit(None)))
        return result

    def with_boundaries(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The result with the lower bound of each window."""
        groups = frame.group_by_dynamic(self.index, **{**self.options, "include_boundaries": True})
        return groups.agg(*self.aggs)

    @property
    def period(self) -> str:
        """How long a window is, in Polars' words."""
        return _in_words(self.options.get("period") or self.options.get("every"))

    @property
    def offset(self) -> str:
        """From a row to the beginning of its window, in Polars' words."""
        given = self.options.get("offset")
        return f"-{self.period}" if given is None else _in_words(given)

    @property
    def grid_is_fixed(self) -> bool:
        """Whether windows begin where they begin, whatever the first row is: then each rank can find its own."""
        if self.operator == "rolling":
            return True
        index = self.input.schema[self.index]
        zoned = isinstance(index, pl.Datetime) and index.time_zone is not None
        moved = self.options.get("offset") is not None and (
            zoned or bool(re.search("mo|q|y", _in_words(self.options["every"])))
        )
        return self.options.get("start_by", "window") == "window" and not moved

    def label(self) -> str:
        return f"{self.operator.replace('_', ' ').upper()} {self.index}"


def _in_words(duration: Any) -> str:
    words = parse_as_duration_string(duration)
    return "0ns" if words is None else words


@dataclass(frozen=True, eq=False)
class Smoothed(Around):
    """Exponentially weighted means."""

    @property
    def moves(self) -> str:
        return "one row a rank to all ranks"

    def label(self) -> str:
        return f"WEIGHTED MEANS {self._listed}"


@dataclass(frozen=True, eq=False)
class WeightedSpread(Around):
    """Exponentially weighted variances and standard deviations."""

    @property
    def moves(self) -> str:
        return "one row a rank to all ranks"

    def label(self) -> str:
        return f"WEIGHTED DEVIATIONS {self._listed}"


@dataclass(frozen=True, eq=False)
class WeightedInTime(Around):
    """Means weighted by how long ago values were."""

    @property
    def moves(self) -> str:
        return "two rows a rank to all ranks; columns read by range of times that are not sorted"

    def label(self) -> str:
        return f"WEIGHTED MEANS IN TIME {self._listed}"


@dataclass(frozen=True, eq=False)
class InOrder(Around):
    """Columns of the table in the order of `by`, in which rows that are equal in it keep theirs."""

    by: tuple[pl.Expr, ...]
    descending: bool = False
    nulls_last: bool = False

    @property
    def moves(self) -> str:
        return f"columns read by range of [{', '.join(map(str, self.by))}], and the result back"

    def label(self) -> str:
        return f"WINDOW IN ORDER OF [{', '.join(map(str, self.by))}] {self._listed}"


@dataclass(frozen=True, eq=False)
class Rolled(Around):
    """Expressions over the rows of a window of time, from `offset` after each row, `period` long."""

    index: pl.Expr
    period: str
    offset: str

    @property
    def moves(self) -> str:
        return f"the rows that windows of {self.period} reach; columns read to rank 0 where times are not sorted"

    def label(self) -> str:
        return f"ROLLING {self._listed}"


@dataclass(frozen=True, eq=False)
class Binned(Around):
    """Between which quantiles values are."""

    @property
    def moves(self) -> str:
        return "a few dozen numbers for each quantile"

    def label(self) -> str:
        return f"QUANTILE BINS {self._listed}"
