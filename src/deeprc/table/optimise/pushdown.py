"""Less to exchange: filters move below exchanges, and columns that nobody reads are left behind before them.

Within a stage Polars' own optimiser does both. It cannot see past an exchange, so this does it there; `sinking.py`
has the filters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import polars as pl

from deeprc.table.optimise.sinking import Sinking
from deeprc.table.plan.expressions import root_columns
from deeprc.table.plan.nodes import (
    Drop,
    Filter,
    GroupBy,
    Head,
    Join,
    Node,
    Rename,
    Select,
    Sort,
    Source,
    Unique,
    WithColumns,
)
from deeprc.table.plan.row_nodes import (
    Beside,
    Concat,
    EachRow,
    JoinAsof,
    Keyed,
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
    with_inputs,
)
from deeprc.table.plan.window_nodes import TimeWindows

Names = frozenset[str]
_MOVING = Permute | Repartition | Reverse | RowIndex | Sample | ShuffleByKey | Slice | TopK | Unrepeated


def optimised(plan: Node) -> Node:
    """The plan with the same result, in the same order where one is promised, that moves fewer bytes."""
    sunk = Sinking(uses(plan)).sink(plan)
    return _narrowed(_Pruning(uses(sunk)).prune(sunk, frozenset(sunk.schema)), {})


def _narrowed(node: Node, done: dict[int, tuple[Node, Node]]) -> Node:
    """Sources right below filters leave out what they know that no row of is kept."""
    if id(node) not in done:
        below = with_inputs(node, tuple(_narrowed(source, done) for source in node.inputs))
        if isinstance(below, Filter) and isinstance(below.input, Source) and not below.looks_around:
            less = below.input.where(below.predicates)
            below = below if less is None else replace(below, input=less)
        done[id(node)] = (node, below)
    return done[id(node)][1]


def uses(plan: Node) -> Counter[int]:
    """How many operators read each node, by its id."""
    readers: Counter[int] = Counter()
    waiting = [plan]
    while waiting:
        node = waiting.pop()
        for source in node.inputs:
            readers[id(source)] += 1
            if readers[id(source)] == 1:
                waiting.append(source)
    return readers


@dataclass(frozen=True)
class _Pruning:
    """Only the columns that are read later go into an exchange. What several operators read is left whole."""

    uses: Counter[int]
    done: dict[tuple[int, Names], Node] = field(default_factory=dict)

    def prune(self, node: Node, needed: Names) -> Node:
        """A node that gives at least the needed columns of this one."""
        if self.uses[id(node)] > 1:
            needed = frozenset(node.schema)
        key = (id(node), needed)
        if key not in self.done:
            pruned = self._pruned(node, needed)
            same = all(pruned.schema.get(name) == node.schema[name] for name in needed)
            self.done[key] = pruned if same else node
        return self.done[key]

    def _pruned(self, node: Node, needed: Names) -> Node:
        if isinstance(node, Source):
            return node
        if isinstance(node, EachRow | JoinAsof | Keyed | MapPart | TimeWindows | Upsampled):
            return with_inputs(node, tuple(self.prune(source, frozenset(source.schema)) for source in node.inputs))
        if isinstance(node, Concat):
            columns = needed or _any_column(node)
            return with_inputs(node, tuple(self._only(source, columns) for source in node.inputs))
        if isinstance(node, Beside):
            tables = (self._only(table, needed & set(table.schema)) for table in node.tables)
            return with_inputs(node, tuple(tables))
        if isinstance(node, Join):
            left, right = _join_sides(node, needed)
            return replace(node, left=self._only(node.left, left), right=self._only(node.right, right))
        source = node.inputs[0]
        below = _read_below(node, needed) & set(source.schema)
        if isinstance(node, Sort | Unique | Head | GroupBy | _MOVING):
            return with_inputs(node, (self._only(source, below),))
        pruned = self.prune(source, below or _any_column(source))
        if isinstance(node, Rename):
            kept = {old: new for old, new in node.mapping.items() if old in pruned.schema}
            return Rename(pruned, kept) if kept else pruned
        if isinstance(node, Drop):
            names = tuple(name for name in node.names if name in pruned.schema)
            return Drop(pruned, names) if names else pruned
        return with_inputs(node, (pruned,))

    def _only(self, node: Node, needed: Names) -> Node:
        """The node with the needed columns and no others, in their order."""
        needed = needed or _any_column(node)
        pruned = self.prune(node, needed)
        names = [name for name in pruned.schema if name in needed]
        if len(names) == len(pruned.schema):
            return pruned
        return Select(pruned, tuple(pl.col(name) for name in names), pushed=True)


def _any_column(node: Node) -> Names:
    """How many rows there are is known from any column."""
    return frozenset(node.schema.names()[:1])


def _read_below(node: Node, needed: Names) -> Names:
    """The columns of its input that an operator reads to give the needed ones."""
    schema = node.inputs[0].schema
    if isinstance(node, Select):
        return root_columns(node.exprs, schema)
    if isinstance(node, GroupBy):
        return root_columns((*node.keys, *node.aggs), schema)
    if isinstance(node, Filter | WithColumns):
        return needed | root_columns(node.expressions, schema)
    if isinstance(node, Sort | TopK):
        return needed | root_columns(node.by, schema)
    if isinstance(node, ShuffleByKey | Unrepeated):
        return needed | root_columns(node.keys, schema)
    if isinstance(node, Unique):
        return frozenset(schema) if node.subset is None else needed | set(node.subset)
    if isinstance(node, Rename):
        old = {new: name for name, new in node.mapping.items()}
        return frozenset(old.get(name, name) for name in needed)
    return needed


def _join_sides(node: Join, needed: Names) -> tuple[Names, Names]:
    """The columns of either side; both of a name that both have, since that decides who gets the suffix."""
    left, right = node.left.schema, node.right.schema
    if node.how in ("semi", "anti"):
        return needed & set(left) | root_columns(node.left_on, left), root_columns(node.right_on, right)
    from_right = {name for name in right if name in needed or name + node.suffix in needed}
    both = {name for name in from_right if name in left}
    return (
        frozenset((needed & set(left)) | both | root_columns(node.left_on, left)),
        frozenset(from_right | root_columns(node.right_on, right)),
    )
