"""How many rows and bytes each operator will give, before anything runs: from what sources know, by simple rules.

| operator | rows |
|---|---|
| source | counted by the file's own metadata (Parquet, IPC), a dataset's manifest or the frames; text: size of the files over the mean length of the first lines |
| filter | a third for each predicate |
| inner, left, right join | those of the larger side |
| full join | both sides' together |
| semi, anti join | half the left side |
| cross join | the product |
| group_by, unique | a tenth |
| head, slice, top_k, sample | what was asked for, if there is so much |
| all others | those of the input |

A row's bytes are those of its columns: of a sample where the source is a file, else of the type.
"""  # noqa: E501 (a table)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from deeprc.table.expressions import plain_column
from deeprc.table.plan import Filter, GroupBy, Head, Join, Node, Rename, Select, Source, Unique, WithColumns
from deeprc.table.plan_rows import Concat, Sample, Slice, TopK

KEPT_BY_FILTER = 1 / 3
KEPT_BY_SEMI_JOIN = 1 / 2
KEPT_BY_GROUPING = 1 / 10
_WIDTHS: dict[type[pl.DataType], int] = {
    pl.Boolean: 1,
    pl.Int8: 1,
    pl.UInt8: 1,
    pl.Int16: 2,
    pl.UInt16: 2,
    pl.Int32: 4,
    pl.UInt32: 4,
}
_WIDTHS |= {pl.Float32: 4, pl.Date: 4, pl.Categorical: 4, pl.Enum: 4, pl.Null: 1}
_WIDTHS |= {pl.Int128: 16, pl.UInt128: 16, pl.Decimal: 16, pl.String: 24, pl.Binary: 24}
_NUMBER, _NESTED = 8, 32


@dataclass(frozen=True)
class Estimate:
    """Rows of all ranks together, and the bytes that a row's value of each column takes in memory."""

    rows: float
    widths: Mapping[str, float]

    @property
    def bytes(self) -> float:
        return self.rows * sum(self.widths.values())

    def __str__(self) -> str:
        return f"about {round(self.rows):,} row{'s' * (round(self.rows) != 1)}, {size_text(self.bytes)}"


def size_text(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def measured(frame: pl.DataFrame) -> Mapping[str, float]:
    """What a value of each column takes, on the average of a frame."""
    if not frame.height:
        return widths(frame.schema)
    return {column.name: column.estimated_size() / frame.height for column in frame}


def widths(schema: Mapping[str, pl.DataType]) -> Mapping[str, float]:
    """What a value of each column takes, as far as its type says."""
    return {name: _width(dtype) for name, dtype in schema.items()}


def _width(dtype: pl.DataType) -> float:
    return _NESTED if dtype.is_nested() else _WIDTHS.get(type(dtype), _NUMBER)


@dataclass(frozen=True)
class Estimates:
    """The estimates of a plan's nodes. `most` takes filters and groupings to keep all rows: an upper bound."""

    most: bool = False
    done: dict[int, tuple[Node, Estimate | None]] = field(default_factory=dict)

    def of(self, node: Node) -> Estimate | None:
        """None where a source cannot say."""
        if id(node) not in self.done:
            self.done[id(node)] = (node, self._estimated(node))
        return self.done[id(node)][1]

    def _estimated(self, node: Node) -> Estimate | None:
        if isinstance(node, Source):
            return _of_source(node)
        inputs = [self.of(source) for source in node.inputs]
        known = [estimate for estimate in inputs if estimate is not None]
        if not known or len(known) < len(inputs):
            return None
        rows = self._rows(node, [estimate.rows for estimate in known])
        return Estimate(rows, _columns(node, known))

    def _rows(self, node: Node, inputs: list[float]) -> float:
        rows = inputs[0]
        if isinstance(node, Join):
            return self._joined(node, *inputs)
        if isinstance(node, Concat):
            return sum(inputs)
        if isinstance(node, Filter):
            return rows if self.most else rows * KEPT_BY_FILTER ** len(node.predicates)
        if isinstance(node, GroupBy | Unique):
            return rows if self.most or rows < 1 else max(1.0, rows * KEPT_BY_GROUPING)
        if isinstance(node, Head):
            return min(rows, node.n)
        if isinstance(node, TopK):
            return min(rows, node.k)
        if isinstance(node, Slice):
            return rows if node.length is None else min(rows, node.length)
        if isinstance(node, Sample):
            return rows * node.fraction if node.fraction is not None else min(rows, node.n or 0)
        return rows

    def _joined(self, node: Join, left: float, right: float) -> float:
        if node.how == "cross":
            return left * right
        if node.how in ("semi", "anti"):
            return left if self.most else left * KEPT_BY_SEMI_JOIN
        return left + right if node.how == "full" else max(left, right)


def _of_source(node: Source) -> Estimate | None:
    found = node.statistics()
    if found is None:
        return None
    rows, known = found
    return Estimate(rows, {**widths(node.schema), **{name: known[name] for name in node.schema if name in known}})


def _columns(node: Node, inputs: list[Estimate]) -> Mapping[str, float]:
    """A result column that is an input's keeps its width; one that is computed has its type's."""
    known: dict[str, float] = {}
    for estimate in reversed(inputs):
        known |= estimate.widths
    if isinstance(node, Join):
        known |= {name + node.suffix: width for name, width in inputs[-1].widths.items()}
    if isinstance(node, Rename):
        known |= {new: known[old] for old, new in node.mapping.items() if old in known}
    elif isinstance(node, Select | WithColumns):
        computed = {
            item.meta.output_name(raise_if_undetermined=False) for item in node.exprs if plain_column(item) is None
        }
        known = {name: width for name, width in known.items() if name not in computed}
    elif isinstance(node, GroupBy):
        keys = {plain_column(key) for key in node.keys}
        known = {name: width for name, width in known.items() if name in keys}
    return {**widths(node.schema), **{name: width for name, width in known.items() if name in node.schema}}
