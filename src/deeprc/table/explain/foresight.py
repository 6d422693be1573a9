"""What each operator will move between ranks, as far as it can be told before anything runs.

Ranks decide by what they have measured, all of them alike; here estimates stand for that. Where nothing is known of
a side of a join, it is taken for large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from deeprc.table.explain import ways
from deeprc.table.files.statistics import size_text
from deeprc.table.operators import join
from deeprc.table.operators.group_by import groups_locally, taken_apart
from deeprc.table.operators.join import joins_locally, keeps_left
from deeprc.table.operators.sort import sorts_locally
from deeprc.table.plan.estimate import Estimates
from deeprc.table.plan.expressions import is_scalar
from deeprc.table.plan.nodes import GroupBy, Head, Join, Node, Select, Sort, Step, Unique
from deeprc.table.plan.placement import Placement, after_step, key_columns, matching_keys
from deeprc.table.plan.row_nodes import (
    Beside,
    Concat,
    JoinAsof,
    Keyed,
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
from deeprc.table.plan.window_nodes import Around, ByKey, Scalars, TimeWindows

_ONE_PLACE = "exchange: all rows to rank 0"
_SPREAD = "keys that many rows have are found by samples of all ranks, and spread"


@dataclass(frozen=True)
class Moves:
    """What has to travel before an operator can run, one line an exchange; and what more there is to say of it."""

    exchanges: Sequence[str] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Foresight:
    """What is expected of a plan whose nodes are estimated to be of some size."""

    estimates: Estimates
    placements: dict[int, tuple[Node, Placement]] = field(default_factory=dict)

    def moves(self, node: Node) -> Moves:
        if isinstance(node, Join):
            return self._of_join(node)
        if isinstance(node, GroupBy):
            return self._of_group_by(node)
        if isinstance(node, Unique):
            return self._of_unique(node)
        if isinstance(node, Step):
            return self._of_step(node)
        if isinstance(node, Sort):
            if sorts_locally(node):
                return Moves([_range(node)])
            return Moves([_ONE_PLACE], ways.of_keys(node.by, node.input.schema))
        if isinstance(node, Unrepeated):
            return Moves([] if self._together(node.input, node.keys) else [_hash("keys", node.keys)])
        if isinstance(node, ShuffleByKey | Keyed) and node.keys:
            return Moves([] if self._together(node.input, node.keys) else [_hash("rows", node.keys)])
        return Moves(_of_rows(node))

    def _together(self, node: Node, keys: Sequence[pl.Expr]) -> bool:
        """Whether rows with equal keys are on one rank already."""
        return matching_keys(self.placement(node), keys) is not None

    def _of_step(self, node: Step) -> Moves:
        if isinstance(node, Around):
            placed = isinstance(node, ByKey) and self._together(node.input, node.keys)
            return Moves() if placed else Moves([f"exchange: {node.moves}"], _of_around(node))
        if isinstance(node, Select) and all(is_scalar(item) for item in node.exprs):
            return Moves(*ways.of_whole_table(node.exprs, node.input))
        if node.looks_around:
            looking = ", ".join(map(str, node.looks_around))
            moved = f"exchange: columns read by {looking} to rank 0 and the result back (not row by row)"
            return Moves([moved], ways.of_step(node, node.looks_around))
        return Moves()

    def _of_group_by(self, node: GroupBy) -> Moves:
        if not groups_locally(node):
            return Moves([_ONE_PLACE], ways.of_keys(node.keys, node.input.schema))
        if node.maintain_order:
            moved = [_hash("rows", node.keys), "exchange: groups by range of their first rows"]
            return Moves(moved, ["whole groups: their order is that of their first rows (maintain_order)"])
        if self._together(node.input, node.keys):
            return Moves([], ["whole groups where they are: rows with equal keys are on one rank"])
        if taken_apart(node) is None:
            return Moves([_hash("rows", node.keys)], ways.of_groups(node))
        first = self._first_on_each_rank(node.input, node.keys, "aggregated")
        return Moves([_hash("rows", node.keys)], [first, *ways.of_groups(node)])

    def _of_unique(self, node: Unique) -> Moves:
        names = node.input.schema.names() if node.subset is None else list(node.subset)
        if not names:
            return Moves([_ONE_PLACE])
        keys = [pl.col(name) for name in names]
        if node.maintain_order:
            return Moves([f"exchange: rows by hash of {names}", "exchange: rows by range of their numbers"])
        if self._together(node.input, keys):
            return Moves()
        remarks = [] if node.keep == "none" else [self._first_on_each_rank(node.input, keys, "reduced")]
        return Moves([f"exchange: rows by hash of {names}"], remarks)

    def _first_on_each_rank(self, node: Node, keys: Sequence[pl.Expr], what: str) -> str:
        found, groups = self.estimates.of(node), self.estimates.groups(node, keys)
        if found is None or groups is None:
            return f"{what} on each rank first if a sample of its rows says that this makes them fewer"
        counts = f"about {round(groups):,} key{'s' * (round(groups) != 1)} in {round(found.rows):,} rows"
        if groups < 0.5 * found.rows:
            return f"expected: {what} on each rank first ({counts})"
        return f"expected: rows travel as they are ({counts})"

    def _of_join(self, node: Join) -> Moves:
        if node.how == "cross":
            return self._of_cross_join(node)
        if not joins_locally(node):
            return Moves([f"{_ONE_PLACE}, left", f"{_ONE_PLACE}, right"])
        left = matching_keys(self.placement(node.left), node.left_on)
        right = matching_keys(self.placement(node.right), node.right_on)
        if left is not None and left == right:
            return Moves()
        chosen = left or right or tuple(range(len(node.left_on)))
        small = self._small_right_side(node)
        if small is True:
            remark = f"expected: right side of {self._size(node.right)}, up to {_limit()} are sent to all"
            return Moves(["exchange: right to all ranks"], [remark])
        lines = []
        if left is None:
            lines.append(_hash("left", [node.left_on[index] for index in chosen]))
        if chosen != right:
            lines.append(_hash("right", [node.right_on[index] for index in chosen]))
        remarks = [_SPREAD] if len(lines) == 2 else []
        if small is False:
            remarks.insert(0, f"expected: right side of {self._size(node.right)}, too large to send to all")
        elif left is None and keeps_left(node):
            remarks.insert(0, f"if the right side turns out to be at most {_limit()}, it goes to all instead")
        return Moves(lines, remarks)

    def _of_cross_join(self, node: Join) -> Moves:
        sizes = [self.estimates.of(side) for side in (node.left, node.right)]
        if sizes[0] is None or sizes[1] is None:
            return Moves(["exchange: the smaller side to all ranks"])
        side = "right" if sizes[1].bytes <= sizes[0].bytes else "left"
        return Moves(["exchange: the smaller side to all ranks"], [f"expected: the {side} one"])

    def _small_right_side(self, node: Join) -> bool | None:
        """Whether the right side is expected to go to all ranks; None where it cannot, or its size is not known."""
        if node.how == "cross" or not joins_locally(node) or not keeps_left(node):
            return None
        if self._together(node.left, node.left_on):
            return None
        right = self.estimates.of(node.right)
        return None if right is None else right.bytes <= join.BROADCAST_BYTES

    def _size(self, node: Node) -> str:
        found = self.estimates.of(node)
        return "unknown" if found is None else f"about {size_text(found.bytes)}"

    def placement(self, node: Node) -> Placement:
        """Where rows will be."""
        if id(node) not in self.placements:
            self.placements[id(node)] = (node, self._placement(node))
        return self.placements[id(node)][1]

    def _placement(self, node: Node) -> Placement:
        if isinstance(node, Around | Head | Slice | Sample | RowIndex | Unrepeated):
            return self.placement(node.input)
        if isinstance(node, Step):
            return None if node.looks_around else after_step(node, self.placement(node.input))
        if isinstance(node, GroupBy):
            return self._by_keys(node, node.keys) if groups_locally(node) and not node.maintain_order else None
        if isinstance(node, Unique):
            names = node.input.schema.names() if node.subset is None else node.subset
            return self._by_keys(node, [pl.col(name) for name in names]) if names and not node.maintain_order else None
        if isinstance(node, ShuffleByKey):
            return self._by_keys(node, node.keys)
        if isinstance(node, Join) and node.how != "cross" and joins_locally(node):
            return self._after_join(node)
        return None

    def _by_keys(self, node: GroupBy | Unique | ShuffleByKey, keys: Sequence[pl.Expr]) -> Placement:
        return self.placement(node.input) if self._together(node.input, keys) else key_columns(keys)

    def _after_join(self, node: Join) -> Placement:
        if self._small_right_side(node):
            return self.placement(node.left)
        left = matching_keys(self.placement(node.left), node.left_on)
        chosen = left or matching_keys(self.placement(node.right), node.right_on) or range(len(node.left_on))
        return join.kept_placement(node, chosen)


def _of_around(node: Around) -> Sequence[str]:
    """What is on rank 0 of columns that look at other rows, why."""
    if isinstance(node, Scalars):
        return ways.of_whole_table(node.exprs, node.input)[1]
    return ways.of_step(node, node.exprs) if type(node) is Around else []


def _of_rows(node: Node) -> list[str]:
    if isinstance(node, Concat):
        return ["exchange: rows by their numbers, evenly"] * node.in_order
    if isinstance(node, Beside):
        return ["exchange: rows by their numbers, to those of the first table"]
    if isinstance(node, TopK):
        return [f"exchange: the {node.k} rows of each rank to rank 0"]
    if isinstance(node, Permute):
        return ["exchange: rows by a hash of their numbers"]
    if isinstance(node, Reverse):
        return ["exchange: each rank's rows to the rank as far from the other end"]
    if isinstance(node, Repartition):
        return ["exchange: rows by their numbers"]
    if isinstance(node, Keyed):
        return [_ONE_PLACE]
    if isinstance(node, TimeWindows):
        reach = f"exchange: rows that the windows of other ranks reach, {node.period} from their own"
        return [reach] if node.grid_is_fixed else [_ONE_PLACE]
    if isinstance(node, Upsampled):
        return ["exchange: the first and the last moment of each rank to all ranks"]
    if isinstance(node, JoinAsof):
        if not node.left_by:
            return ["exchange: right rows near the left rows of each rank"]
        return [
            f"exchange: left by hash of {list(node.left_by)}",
            f"exchange: right by hash of {list(node.right_by)}",
        ]
    return []


def _hash(what: str, keys: Sequence[pl.Expr]) -> str:
    return f"exchange: {what} by hash of [{', '.join(map(str, keys))}]"


def _range(node: Sort) -> str:
    return f"exchange: rows by range of [{', '.join(map(str, node.by))}], split at samples of all ranks"


def _limit() -> str:
    return size_text(join.BROADCAST_BYTES)
