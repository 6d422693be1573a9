"""How many rows and bytes each operator will give, before anything runs: from what sources know, by simple rules.

| operator | rows |
|---|---|
| source | counted by the file's own metadata (Parquet, IPC), a dataset's manifest or the frames; text: size of the files over the mean length of the first lines |
| filter | by bounds, nulls and distinct values (`selectivity.py`); a third where these say nothing |
| inner, left, right, full join | as many as keys of the side with fewer meet, if all of them are among the other's, and all of a side that is kept; the larger side, of a full join both, where nobody has seen the keys |
| semi, anti join | the part of keys that the other side has, or has not; half where nobody has seen them |
| cross join | the product |
| group_by, unique | as many as a sample of the source says keys differ; a tenth where no sample has the keys |
| aggregates alone | one |
| head, slice, top_k, sample | what was asked for, if there is so much |
| a function on each part, unpivot, upsample | not known |
| all others | those of the input |

A row's bytes are those of its columns: of a sample where the source is a file, else of the type.
"""  # noqa: E501 (a table)

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import TypeVar

import polars as pl

from deeprc.table.files.statistics import Bounds, Estimate, distinct_within, widths
from deeprc.table.plan.expressions import is_scalar, plain_column
from deeprc.table.plan.nodes import (
    Filter,
    GroupBy,
    Head,
    Join,
    Node,
    Rename,
    Select,
    Sort,
    Source,
    Step,
    Unique,
    WithColumns,
)
from deeprc.table.plan.row_nodes import (
    Beside,
    Concat,
    EachRow,
    MapPart,
    Permute,
    Repartition,
    Reverse,
    RowIndex,
    Sample,
    ShuffleByKey,
    Slice,
    TopK,
    Unrepeated,
    Upsampled,
)
from deeprc.table.plan.selectivity import kept_by, matched_part, matches

KEPT_BY_SEMI_JOIN = 1 / 2
KEPT_BY_GROUPING = 1 / 10
Known = TypeVar("Known")
_SAME_ROWS = Step | Sort | Permute | Repartition | Reverse | RowIndex | ShuffleByKey | Unrepeated
_SO_MANY = _SAME_ROWS | Concat | Head | Slice | TopK | Sample


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

    def groups(self, node: Node, keys: Iterable[pl.Expr]) -> float | None:
        """About how many of the node's rows differ in the keys; None where no sample has seen them."""
        found = self.of(node)
        names = [plain_column(key) for key in keys]
        if found is None or not all(name in found.distinct for name in names):
            return None
        return min(found.rows, prod(max(1.0, found.distinct[name]) for name in names if name is not None))

    def _estimated(self, node: Node) -> Estimate | None:
        if isinstance(node, Source):
            return _of_source(node, look=not self.most)
        inputs = [self.of(source) for source in node.inputs]
        known = [estimate for estimate in inputs if estimate is not None]
        if not known or len(known) < len(inputs) or not (self.most or _can_tell(node)):
            return None
        rows = self._rows(node, known)
        counted = isinstance(node, _SO_MANY) and not isinstance(node, Filter) and all(each.counted for each in known)
        return Estimate(rows, _columns(node, known), _distinct(node, known), counted, _bounds(node, known))

    def _rows(self, node: Node, inputs: list[Estimate]) -> float:
        rows = inputs[0].rows
        if isinstance(node, Join):
            return self._joined(node, *inputs)
        if isinstance(node, Concat):
            return sum(each.rows for each in inputs)
        if isinstance(node, Beside):
            return max(each.rows for each in inputs)
        if isinstance(node, Filter):
            return rows if self.most else rows * prod(kept_by(each, inputs[0]) for each in node.predicates)
        if isinstance(node, GroupBy | Unique):
            return self._grouped(node, rows)
        if isinstance(node, Select) and all(is_scalar(item) for item in node.exprs):
            return 1.0
        return _chosen(node, rows)

    def _grouped(self, node: GroupBy | Unique, rows: float) -> float:
        if self.most or rows < 1:
            return rows
        keys = node.keys if isinstance(node, GroupBy) else _unique_keys(node)
        groups = self.groups(node.input, keys)
        return max(1.0, rows * KEPT_BY_GROUPING if groups is None else groups)

    def _joined(self, node: Join, one: Estimate, other: Estimate) -> float:
        left, right = one.rows, other.rows
        keys = list(zip(node.left_on, node.right_on, strict=True))
        if node.how == "cross":
            return left * right
        if node.how in ("semi", "anti"):
            part = matched_part(keys, one, other)
            part = KEPT_BY_SEMI_JOIN if part is None else part
            return left if self.most else left * (part if node.how == "semi" else 1.0 - part)
        pairs = None if self.most else matches(keys, one, other)
        if pairs is None:
            return left + right if node.how == "full" else max(left, right)
        return max(pairs, left * (node.how in ("left", "full")), right * (node.how in ("right", "full")))


def _can_tell(node: Node) -> bool:
    """Not where a user's function gives the rows, nor how many there are of each in another shape."""
    return not isinstance(node, MapPart | Upsampled) and not (
        isinstance(node, EachRow) and node.schema != node.input.schema
    )


def _chosen(node: Node, rows: float) -> float:
    if isinstance(node, Head):
        return min(rows, node.n)
    if isinstance(node, TopK):
        return min(rows, node.k)
    if isinstance(node, Slice):
        there = max(rows - node.offset, 0) if node.offset >= 0 else min(rows, -node.offset)
        return there if node.length is None else min(there, node.length)
    if isinstance(node, Sample):
        return rows * node.fraction if node.fraction is not None else min(rows, node.n or 0)
    return rows


def _unique_keys(node: Unique) -> list[pl.Expr]:
    return [pl.col(name) for name in (node.input.schema if node.subset is None else node.subset)]


def _of_source(node: Source, *, look: bool) -> Estimate | None:
    found = node.statistics()
    if found is None:
        return None
    sizes = {**widths(node.schema), **{name: found.widths[name] for name in node.schema if name in found.widths}}
    known = node.look(found) if look else found
    return replace(known, widths=sizes, distinct=distinct_within(known))


def _columns(node: Node, inputs: list[Estimate]) -> Mapping[str, float]:
    """A result column that is an input's keeps its width; one that is computed has its type's."""
    return {**widths(node.schema), **_kept(node, [estimate.widths for estimate in inputs])}


def _distinct(node: Node, inputs: list[Estimate]) -> Mapping[str, float]:
    return {} if isinstance(node, Concat) else _kept(node, [estimate.distinct for estimate in inputs])


def _bounds(node: Node, inputs: list[Estimate]) -> Mapping[str, Bounds]:
    return {} if isinstance(node, Concat) else _kept(node, [estimate.bounds for estimate in inputs])


def _kept(node: Node, inputs: list[Mapping[str, Known]]) -> Mapping[str, Known]:
    """What is known of an input's column, for the columns of the result that are these."""
    known: dict[str, Known] = {}
    for values in reversed(inputs):
        known |= values
    if isinstance(node, Join):
        known |= {name + node.suffix: value for name, value in inputs[-1].items()}
    if isinstance(node, Rename):
        known |= {new: known[old] for old, new in node.mapping.items() if old in known}
    elif isinstance(node, Select | WithColumns):
        computed = {
            item.meta.output_name(raise_if_undetermined=False) for item in node.exprs if plain_column(item) is None
        }
        known = {name: value for name, value in known.items() if name not in computed}
    elif isinstance(node, GroupBy):
        keys = {plain_column(key) for key in node.keys}
        known = {name: value for name, value in known.items() if name in keys}
    return {name: value for name, value in known.items() if name in node.schema}
