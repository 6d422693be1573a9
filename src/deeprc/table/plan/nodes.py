"""The logical plan: frozen nodes, each an operator of Polars' lazy API over its inputs.

`apply` is the operator in one process: it gives the schema at plan time, is what a rank runs on its part
once the rows are where they have to be, and is the whole plan when there is one rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import polars as pl

from deeprc.communicator import Communicator
from deeprc.table.files.statistics import Estimate
from deeprc.table.plan.expressions import is_row_wise

JoinHow = Literal["inner", "left", "right", "full", "semi", "anti", "cross"]
Keep = Literal["any", "first", "last", "none"]


@dataclass(frozen=True, eq=False)
class Node:
    """One operator; `inputs` are the plans it reads."""

    @property
    def inputs(self) -> tuple[Node, ...]:
        return ()

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        """The operator on whole inputs, in one process."""
        raise TypeError(f"{type(self).__name__} has nothing to apply")

    @cached_property
    def schema(self) -> pl.Schema:
        """Names and types of the result, known before any work starts."""
        return self.apply(*(pl.LazyFrame(schema=node.schema) for node in self.inputs)).collect_schema()

    def label(self) -> str:
        """One line of `explain`."""
        raise TypeError(f"{type(self).__name__} has no label")


@dataclass(frozen=True, eq=False)
class Source(Node):
    """Where rows come from: `load` gives this rank's share of them and may be collective.

    `fault` looks for what is wrong with it, when a plan that reads it has failed.
    `statistics` says, without any other rank, what is known of the rows of all ranks; None where nothing is.
    `portions` gives, as `load` does, this rank's share, in queries of about so many bytes of memory, to be asked for
    as often as one likes; None where `load` is as good.
    `where` gives a source that may leave out rows of which not all of some predicates hold; None where it can't tell.
    `look` adds to these statistics what all of its files tell, each looked at: for explaining alone.
    `in_words` adds to what the plan says of it, once that is asked for.
    """

    description: str
    columns: pl.Schema
    load: Callable[[Communicator], pl.LazyFrame] = field(repr=False)
    fault: Callable[[], str | None] = field(repr=False, default=lambda: None)
    statistics: Callable[[], Estimate | None] = field(default=lambda: None, repr=False)
    portions: Callable[[Communicator, int], Callable[[], Iterator[pl.LazyFrame]]] | None = field(
        default=None, repr=False
    )
    where: Callable[[tuple[pl.Expr, ...]], Source | None] = field(default=lambda _: None, repr=False)
    look: Callable[[Estimate], Estimate] = field(default=lambda known: known, repr=False)
    in_words: Callable[[], str] = field(default=lambda: "", repr=False)

    @cached_property
    def schema(self) -> pl.Schema:
        return self.columns

    def label(self) -> str:
        return f"{self.description}, {len(self.columns)} columns{self.in_words()}"


@dataclass(frozen=True, eq=False)
class Step(Node):
    """An operator that works row by row unless one of its expressions looks at other rows."""

    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    @property
    def expressions(self) -> tuple[pl.Expr, ...]:
        return ()

    @cached_property
    def looks_around(self) -> tuple[pl.Expr, ...]:
        """The expressions that need the whole table."""
        return tuple(item for item in self.expressions if not is_row_wise(item, self.input.schema))


@dataclass(frozen=True, eq=False)
class Filter(Step):
    """`pushed`: the optimiser has put it here."""

    predicates: tuple[pl.Expr, ...]
    pushed: bool = False

    @property
    def expressions(self) -> tuple[pl.Expr, ...]:
        return self.predicates

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].filter(*self.predicates)

    def label(self) -> str:
        return f"FILTER {_listed(self.predicates)}{', pushed down' * self.pushed}"


@dataclass(frozen=True, eq=False)
class Select(Step):
    """`pushed`: the optimiser has put it here."""

    exprs: tuple[pl.Expr, ...]
    pushed: bool = False

    @property
    def expressions(self) -> tuple[pl.Expr, ...]:
        return self.exprs

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].select(*self.exprs)

    def label(self) -> str:
        return f"SELECT {_listed(self.exprs)}{', pushed down' * self.pushed}"


@dataclass(frozen=True, eq=False)
class WithColumns(Step):
    exprs: tuple[pl.Expr, ...]

    @property
    def expressions(self) -> tuple[pl.Expr, ...]:
        return self.exprs

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].with_columns(*self.exprs)

    def label(self) -> str:
        return f"WITH COLUMNS {_listed(self.exprs)}"


@dataclass(frozen=True, eq=False)
class Rename(Step):
    mapping: Mapping[str, str]

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].rename(self.mapping)

    def label(self) -> str:
        return f"RENAME {dict(self.mapping)}"


@dataclass(frozen=True, eq=False)
class Drop(Step):
    names: tuple[str, ...]

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].drop(*self.names)

    def label(self) -> str:
        return f"DROP {list(self.names)}"


@dataclass(frozen=True, eq=False)
class Head(Node):
    input: Node
    n: int

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].head(self.n)

    def label(self) -> str:
        return f"HEAD {self.n}"


@dataclass(frozen=True, eq=False)
class Join(Node):
    left: Node
    right: Node
    left_on: tuple[pl.Expr, ...]
    right_on: tuple[pl.Expr, ...]
    how: JoinHow = "inner"
    suffix: str = "_right"
    nulls_equal: bool = False
    coalesce: bool | None = None

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        left, right = frames
        if self.how == "cross":
            return left.join(right, how="cross", suffix=self.suffix)
        return left.join(
            right,
            left_on=list(self.left_on),
            right_on=list(self.right_on),
            how=self.how,
            suffix=self.suffix,
            nulls_equal=self.nulls_equal,
            coalesce=self.coalesce,
        )

    def label(self) -> str:
        if self.how == "cross":
            return "CROSS JOIN"
        return f"{self.how.upper()} JOIN {_listed(self.left_on)} = {_listed(self.right_on)}"


@dataclass(frozen=True, eq=False)
class GroupBy(Node):
    input: Node
    keys: tuple[pl.Expr, ...]
    aggs: tuple[pl.Expr, ...]
    maintain_order: bool = False

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].group_by(*self.keys, maintain_order=self.maintain_order).agg(*self.aggs)

    def label(self) -> str:
        return f"GROUP BY {_listed(self.keys)} AGG {_listed(self.aggs)}"


@dataclass(frozen=True, eq=False)
class Sort(Node):
    input: Node
    by: tuple[pl.Expr, ...]
    descending: tuple[bool, ...]
    nulls_last: tuple[bool, ...]
    maintain_order: bool = False

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].sort(
            list(self.by),
            descending=list(self.descending),
            nulls_last=list(self.nulls_last),
            maintain_order=self.maintain_order,
        )

    def label(self) -> str:
        directions = ["desc" if down else "asc" for down in self.descending]
        return "SORT BY " + ", ".join(f"{key} {way}" for key, way in zip(self.by, directions, strict=True))


@dataclass(frozen=True, eq=False)
class Unique(Node):
    input: Node
    subset: tuple[str, ...] | None
    keep: Keep = "any"
    maintain_order: bool = False

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        subset = None if self.subset is None else list(self.subset)
        return frames[0].unique(subset, keep=self.keep, maintain_order=self.maintain_order)

    def label(self) -> str:
        return f"UNIQUE {list(self.subset) if self.subset else 'rows'} keep {self.keep}"


def _listed(expressions: tuple[pl.Expr, ...]) -> str:
    return "[" + ", ".join(str(expression) for expression in expressions) + "]"
