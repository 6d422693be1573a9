"""Nodes of the plan that choose, number, order or place rows by where they stand in the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl

from deeprc.table.plan.nodes import Node, Step


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Rows of several tables; `in_order` says that those of the first come first."""

    tables: tuple[Node, ...]
    in_order: bool

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.tables

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return pl.concat(frames, how="vertical")

    def label(self) -> str:
        return f"{'CONCAT' if self.in_order else 'UNION ALL'} of {len(self.tables)} tables"


@dataclass(frozen=True, eq=False)
class Beside(Node):
    """Columns of several tables, row by row; `broadcast` repeats the row of a table that has but one."""

    tables: tuple[Node, ...]
    broadcast: bool

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.tables

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return pl.concat(frames, how="horizontal")

    def label(self) -> str:
        return f"SIDE BY SIDE {len(self.tables)} tables"


@dataclass(frozen=True, eq=False)
class Rows(Node):
    """An operator over the rows of one input that keeps its columns, or adds to them."""

    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0]


@dataclass(frozen=True, eq=False)
class Slice(Rows):
    offset: int
    length: int | None

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].slice(self.offset, self.length)

    def label(self) -> str:
        return f"SLICE from {self.offset}, {'all' if self.length is None else self.length} rows"


@dataclass(frozen=True, eq=False)
class TopK(Rows):
    k: int
    by: tuple[pl.Expr, ...]
    reverse: tuple[bool, ...]
    largest: bool

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        take = frames[0].top_k if self.largest else frames[0].bottom_k
        return take(self.k, by=list(self.by), reverse=list(self.reverse))

    def label(self) -> str:
        return f"{'TOP' if self.largest else 'BOTTOM'} {self.k} BY [{', '.join(map(str, self.by))}]"


@dataclass(frozen=True, eq=False)
class RowIndex(Rows):
    name: str
    offset: int

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].with_row_index(self.name, self.offset)

    def label(self) -> str:
        return f"ROW INDEX {self.name!r} from {self.offset}"


@dataclass(frozen=True, eq=False)
class Reverse(Rows):
    """The last row first."""

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return frames[0].reverse()

    def label(self) -> str:
        return "REVERSE"


@dataclass(frozen=True, eq=False)
class Sample(Rows):
    """`n` rows or a fraction of them, chosen by a hash of their numbers in the table."""

    n: int | None
    fraction: float | None
    seed: int | None
    with_replacement: bool = False

    def label(self) -> str:
        how = ", with replacement" if self.with_replacement else ""
        return f"SAMPLE {self.n if self.fraction is None else self.fraction}{how}"


@dataclass(frozen=True, eq=False)
class Permute(Rows):
    """Rows ordered by a hash of their numbers in the table."""

    seed: int | None

    def label(self) -> str:
        return "SHUFFLE at random"


@dataclass(frozen=True, eq=False)
class ShuffleByKey(Rows):
    keys: tuple[pl.Expr, ...]

    def label(self) -> str:
        return f"SHUFFLE BY [{', '.join(map(str, self.keys))}]"


@dataclass(frozen=True, eq=False)
class Repartition(Rows):
    """`sizes`: how many rows each rank gets; None: as many as the others, give or take one."""

    sizes: tuple[int, ...] | None

    def label(self) -> str:
        return f"REPARTITION {'evenly' if self.sizes is None else list(self.sizes)}"


@dataclass(frozen=True, eq=False)
class Each(Step):
    """Polars' frame method that treats each value on its own, as `fill_nan`."""

    name: str
    method: Callable[[pl.LazyFrame], pl.LazyFrame] = field(repr=False)

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return self.method(frames[0])

    def label(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class EachRow(Each):
    """As `Each`, for what treats each row on its own: all its columns are read."""


@dataclass(frozen=True, eq=False)
class MapPart(Rows):
    """A user's function on all rows that a rank has."""

    function: Callable[[pl.DataFrame], pl.DataFrame] = field(repr=False)
    columns: pl.Schema

    @cached_property
    def schema(self) -> pl.Schema:
        return self.columns

    def label(self) -> str:
        return f"MAP PART {getattr(self.function, '__name__', self.function)}"


@dataclass(frozen=True, eq=False)
class Keyed(Rows):
    """Polars' frame method that needs all rows of equal keys in their order; without keys, all rows."""

    name: str
    keys: tuple[pl.Expr, ...]
    method: Callable[[pl.LazyFrame], pl.LazyFrame] = field(repr=False)

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return self.method(frames[0])

    def label(self) -> str:
        return f"{self.name} BY [{', '.join(map(str, self.keys))}]" if self.keys else self.name


@dataclass(frozen=True, eq=False)
class JoinAsof(Node):
    left: Node
    right: Node
    left_by: tuple[str, ...]
    right_by: tuple[str, ...]
    left_on: str
    right_on: str
    method: Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame] = field(repr=False)

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        return self.method(*frames)

    def label(self) -> str:
        by = f" BY {list(self.left_by)} = {list(self.right_by)}" if self.left_by else ""
        return f"ASOF JOIN {self.left_on} = {self.right_on}{by}"


def with_inputs_of(node: Node, inputs: Sequence[Node]) -> dict[str, object]:
    """What of a node changes when it reads other inputs."""
    if isinstance(node, Concat | Beside):
        return {"tables": tuple(inputs)}
    names = ("left", "right") if len(inputs) == 2 else ("input",)
    return dict(zip(names, inputs, strict=True))


def with_inputs(node: Node, inputs: tuple[Node, ...]) -> Node:
    """The same operator over other inputs."""
    return node if inputs == node.inputs else replace(node, **with_inputs_of(node, inputs))


@dataclass(frozen=True, eq=False)
class Unrepeated(Rows):
    """The rows as they are, once no two of them have been found to have equal keys.

    Keys with a null are equal to no other, unless `nulls_equal`.
    """

    keys: tuple[pl.Expr, ...]
    nulls_equal: bool
    side: str

    def label(self) -> str:
        return f"CHECK that [{', '.join(map(str, self.keys))}] are unique"


@dataclass(frozen=True, eq=False)
class Upsampled(Rows):
    """Rows for the moments from the first to the last, `every` so long, with nulls where there was none."""

    index: str
    every: str

    def apply(self, *frames: pl.LazyFrame) -> pl.LazyFrame:
        names = [self.index, *(name for name in self.input.schema if name != self.index)]
        upsampled = frames[0].map_batches(lambda rows: rows.upsample(self.index, every=self.every))
        return upsampled.select(names) if len(names) > 1 else upsampled

    def label(self) -> str:
        return f"UPSAMPLE {self.index} every {self.every}"
