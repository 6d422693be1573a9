"""Filters go below the operators that they do not depend on: fewer rows are exchanged, joined, aggregated.

| below | which predicates |
|---|---|
| sort, reverse, shuffle by key, even repartition, unseeded shuffle, concat | all; with concat to each table |
| select, with_columns, rename, drop | those of columns that are the input's own |
| group_by, unique, windows by key | those of keys |
| inner join | those of one side, to it; those of keys to both |
| left, semi, anti join | those of the left side; those of keys to the right too |
| right join | those of the right side; those of keys to the left too |
| full join | those of keys that both sides give one column of, to both |
| cross join | those of one side |
| as-of join | those of the left side; those of `by` to the right too |

Nothing goes below what numbers rows or chooses them by their place. Rows that two operators read stay as they are for
both. A predicate that may raise an error sees no row that it would not have seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from deeprc.table.operators.group_by import groups_locally
from deeprc.table.operators.join import joins_locally
from deeprc.table.operators.sort import sorts_locally
from deeprc.table.optimise.origins import Columns, JoinColumns, columns_of, join_columns, joins_exactly, through_step
from deeprc.table.optimise.predicates import conjuncts, may_fail, renamed
from deeprc.table.plan.expressions import plain_column, reads_by_selector, tree
from deeprc.table.plan.nodes import Drop, Filter, GroupBy, Join, Node, Rename, Select, Sort, Unique, WithColumns
from deeprc.table.plan.row_nodes import Concat, JoinAsof, Permute, Repartition, Reverse, ShuffleByKey, with_inputs
from deeprc.table.plan.window_nodes import Around, ByKey

# For each input of an operator the predicate that goes there, if one does.
Routes = tuple[pl.Expr | None, ...]


@dataclass(frozen=True)
class Predicate:
    """A predicate on its way down; `moved` once it has passed an operator."""

    expression: pl.Expr
    moved: bool = False


Predicates = tuple[Predicate, ...]


@dataclass(frozen=True)
class Sinking:
    """Filters below what they do not depend on, where nobody else reads the unfiltered rows."""

    uses: Counter[int]
    done: dict[int, tuple[Node, Node]] = field(default_factory=dict)

    def sink(self, node: Node) -> Node:
        """The same rows, filtered as early as may be."""
        if id(node) not in self.done:
            # The original is kept beside the result: an id is only an id while its object lives.
            self.done[id(node)] = (node, self._passed(node, ()))
        return self.done[id(node)][1]

    def _under(self, node: Node, predicates: Predicates) -> Node:
        """The node's rows that pass the predicates."""
        if not predicates:
            return self.sink(node)
        return self._passed(node, predicates) if self.uses[id(node)] <= 1 else _filtered(self.sink(node), predicates)

    def _passed(self, node: Node, predicates: Predicates) -> Node:
        if isinstance(node, Filter) and not node.looks_around:
            own = tuple(Predicate(part, node.pushed) for each in node.predicates for part in conjuncts(each))
            return self._under(node.input, (*own, *predicates))
        stay: list[Predicate] = []
        below: list[list[Predicate]] = [[] for _ in node.inputs]
        for predicate in predicates:
            routes = _routes(node, predicate.expression, first=not stay)
            if routes is None:
                stay.append(predicate)
                continue
            for there, expression in zip(below, routes, strict=True):
                if expression is not None:
                    there.append(Predicate(expression, moved=True))
        inputs = (self._under(source, tuple(there)) for source, there in zip(node.inputs, below, strict=True))
        return _filtered(with_inputs(node, tuple(inputs)), stay)


def _filtered(node: Node, predicates: Sequence[Predicate]) -> Node:
    """One filter for neighbours; a predicate that may fail sees only what those before it have left."""
    together: list[Predicate] = []
    for predicate in predicates:
        if together and (predicate.moved != together[-1].moved or may_fail(predicate.expression)):
            node, together = _filter(node, together), []
        together.append(predicate)
    return _filter(node, together) if together else node


def _filter(node: Node, predicates: Sequence[Predicate]) -> Filter:
    return Filter(node, tuple(each.expression for each in predicates), pushed=predicates[0].moved)


def _routes(node: Node, predicate: pl.Expr, *, first: bool) -> Routes | None:
    """Where a predicate goes; None where it stays above. `first`: none stays that was below it."""
    fails = may_fail(predicate)
    if fails and not (first and _keeps_values(node)):
        return None
    if not predicate.meta.root_names() and not reads_by_selector(tree(predicate)):
        return None  # Of no column: an aggregate over no rows is a row.
    if isinstance(node, Join):
        return _into_join(node, predicate, fails=fails)
    if isinstance(node, JoinAsof):
        return _into_asof_join(node, predicate)
    if isinstance(node, Concat):
        return (predicate,) * len(node.tables)
    columns = _own_columns(node)
    if columns is None:
        return None
    if reads_by_selector(tree(predicate)):
        same = list(columns) == list(node.schema) == list(node.inputs[0].schema)
        return (predicate,) if same else None
    below = _over(predicate, columns)
    return None if below is None else (below,)


def _own_columns(node: Node) -> Columns | None:
    """The columns of the result whose values decide which rows of its one input it is made of; None: none do."""
    if isinstance(node, Sort):
        return _all(node) if sorts_locally(node) else None
    if isinstance(node, ShuffleByKey | Reverse):
        return _all(node)
    if isinstance(node, Repartition):
        return _all(node) if node.sizes is None else None
    if isinstance(node, Permute):
        return _all(node) if node.seed is None else None
    if isinstance(node, Unique):
        return _all(node) if node.subset is None else {name: name for name in node.subset}
    if isinstance(node, GroupBy):
        return columns_of(node.keys) if groups_locally(node) else None
    if isinstance(node, ByKey):
        return {name: name for key in node.keys if (name := plain_column(key)) is not None}
    if isinstance(node, Around) or not isinstance(node, Select | WithColumns | Rename | Drop) or node.looks_around:
        return None
    return through_step(node)


def _keeps_values(node: Node) -> bool:
    """Whether all that is in the columns that predicates go by is in the result too."""
    if isinstance(node, Join):
        return node.how in ("left", "right")
    return not isinstance(node, Unique) or node.keep != "none"


def _all(node: Node) -> Columns:
    return {name: name for name in node.schema}


def _over(predicate: pl.Expr, columns: Columns) -> pl.Expr | None:
    """The predicate over the columns of an input; None if it reads others."""
    if not set(predicate.meta.root_names()) <= set(columns):
        return None
    return renamed(predicate, columns)


def _into_join(node: Join, predicate: pl.Expr, *, fails: bool) -> Routes | None:
    columns = join_columns(node)
    if columns is None or (node.how != "cross" and not joins_locally(node)) or reads_by_selector(tree(predicate)):
        return None
    routes = _sides(node, columns, predicate)
    if fails and routes is not None:
        # Keys of the other side may be values that never reach the result.
        routes = (routes[0], None) if node.how == "left" else (None, routes[1])
    return routes


def _sides(node: Join, columns: JoinColumns, predicate: pl.Expr) -> Routes | None:
    """Into the side whose columns it reads; by keys, which have the same values on both sides, into the other too."""
    left, right = _over(predicate, columns.left), _over(predicate, columns.right)
    left_keys, right_keys = _by_keys(columns.right, columns.left_of), _by_keys(columns.left, columns.right_of)
    if node.how in ("left", "semi", "anti"):
        return None if left is None else (left, _over(predicate, right_keys))
    if node.how == "right":
        return None if right is None else (_over(predicate, left_keys), right)
    if node.how == "full":
        right = _over(predicate, right_keys) if set(predicate.meta.root_names()) <= columns.both else None
        return None if left is None or right is None else (left, right)
    left = _over(predicate, {**left_keys, **columns.left})
    right = _over(predicate, {**right_keys, **columns.right})
    return None if left is None and right is None else (left, right)


def _by_keys(columns: Columns, other: Columns) -> Columns:
    """For columns that are keys of one side, those of the other."""
    return {name: other[key] for name, key in columns.items() if key in other}


def _into_asof_join(node: JoinAsof, predicate: pl.Expr) -> Routes | None:
    names = node.left.schema.names()
    if node.schema.names()[: len(names)] != names or reads_by_selector(tree(predicate)):
        return None
    left = _over(predicate, {name: name for name in names})
    pairs = zip(node.left_by, node.right_by, strict=True)
    keys = {one: other for one, other in pairs if joins_exactly(node.left.schema[one], node.right.schema[other])}
    right = None if may_fail(predicate) else _over(predicate, keys)
    return None if left is None else (left, right)
