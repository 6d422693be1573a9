"""Running a plan within a memory budget: which operators work in buckets, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from deeprc.communicator import Communicator
from deeprc.table.exchange.exchange import together
from deeprc.table.operators.group_by import groups_locally
from deeprc.table.operators.join import joins_locally
from deeprc.table.operators.smoothing import smoothings
from deeprc.table.operators.sort import sorts_locally
from deeprc.table.operators.weighted_spread import spreads
from deeprc.table.optimise.pushdown import uses
from deeprc.table.plan.estimate import Estimates
from deeprc.table.plan.expressions import is_scalar
from deeprc.table.plan.nodes import GroupBy, Head, Join, Node, Select, Sort, Source, Step, Unique
from deeprc.table.plan.placement import after_step
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
)
from deeprc.table.plan.window_nodes import (
    Around,
    ByKey,
    Carried,
    Interpolated,
    InTime,
    Nearby,
    Numbered,
    Ranked,
    Scalars,
    Smoothed,
    TimeWindows,
    WeightedInTime,
    WeightedSpread,
)
from deeprc.table.spill import aggregate, folded, groups, memory, nearest, order, ordered, rows, times, windows
from deeprc.table.spill.beside import side_by_side
from deeprc.table.spill.between import interpolated
from deeprc.table.spill.context import Spilling, StoredSource
from deeprc.table.spill.join import join
from deeprc.table.spill.memory import Room
from deeprc.table.spill.pieces import Pieces
from deeprc.table.spill.ranks import ranked
from deeprc.table.spill.sample import sample
from deeprc.table.spill.whole import in_memory
from deeprc.table.stage import Execution, Stage
from deeprc.workspace import memory_budget, scratch

# In memory an operator holds its inputs, what it sends and receives, its hash table and its result.
TIMES_IN_MEMORY = 3.0


def room_needed(plan: Node, comm: Communicator) -> Room | None:
    """The room to spill within; None where no budget is set, or the plan fits into it. The same on all ranks.

    Collective where a budget is set, which all ranks of a task have or none.
    It fits if no operator's inputs and result, at the most that estimates say, exceed a third of a rank's room.

    Raises:
        ResourceError: a rank's budget leaves too little to work in; on all ranks alike.
    """
    budget = memory_budget()
    if budget is None:
        return None
    memory.give_back()
    mine = memory.Standing(budget, memory.resident_bytes(), expected_peak(plan, comm.size))
    return memory.room_for(comm.all_gather(mine))


def expected_peak(plan: Node, size: int) -> float | None:
    """The bytes that the largest operator would hold on each of `size` ranks in memory; None if not known."""
    most = Estimates(most=True)
    peak = 0.0
    for node in _nodes(plan):
        sizes = [most.of(other) for other in (node, *node.inputs)]
        if any(size is None for size in sizes):
            return None
        peak = max(peak, sum(part.bytes for part in sizes if part is not None))
    return TIMES_IN_MEMORY * peak / size


def _nodes(plan: Node) -> Iterator[Node]:
    seen: set[int] = set()
    waiting = [plan]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting.extend(node.inputs)


@contextmanager
def spilled(
    plan: Node, schema: pl.Schema, comm: Communicator, room: Room, stage_of: Callable[[Node, Execution], Stage]
) -> Iterator[Pieces]:
    """This rank's part of an optimised plan's result, in pieces that are there until the context ends. Collective.

    `schema` has the columns that are wanted. `stage_of` runs an operator that has no way of working in buckets:
    its inputs are computed into files, which it scans.
    """
    shared = frozenset(node for node, readers in uses(plan).items() if readers > 1)
    folder, _ = together(comm, "making its scratch folder", scratch, lambda _: None)
    estimates = Estimates(most=True)

    def expected_bytes(node: Node) -> float | None:
        found = estimates.of(node)
        return None if found is None else found.bytes

    def pieces_of(node: Node, run: Spilling) -> Pieces:
        return _pieces(node, run)

    def whole_of(node: Node, run: Spilling) -> Pieces:
        return in_memory(node, run, stage_of)

    run = Spilling(comm, room, folder, pieces_of, whole_of, expected_bytes, shared)
    try:
        yield run.pieces(plan).map(lambda frame: frame.select(schema.names()), schema)
    finally:
        run.close()


def _group_by(node: GroupBy, run: Spilling) -> Pieces:
    return ordered.group_by(node, run) if node.maintain_order else groups.group_by(node, run)


def _unique(node: Unique, run: Spilling) -> Pieces:
    return ordered.unique(node, run) if node.maintain_order else groups.unique(node, run)


def _join_asof(node: JoinAsof, run: Spilling) -> Pieces:
    return groups.join_asof(node, run) if node.left_by else nearest.join_asof(node, run)


_IN_BUCKETS: dict[type[Node], tuple[Callable[[Any, Spilling], Pieces], Callable[[Any], bool]]] = {
    Select: (aggregate.select, aggregate.is_bounded),
    Scalars: (aggregate.scalars, lambda node: True),
    Join: (join, lambda node: node.how == "cross" or joins_locally(node)),
    GroupBy: (_group_by, groups_locally),
    Unique: (_unique, lambda node: bool(node.input.schema) and node.subset != ()),
    Sort: (order.sort, sorts_locally),
    Keyed: (groups.keyed, lambda node: bool(node.keys)),
    JoinAsof: (_join_asof, lambda node: True),
    ShuffleByKey: (rows.shuffle, lambda node: True),
    Head: (rows.head, lambda node: True),
    Slice: (rows.slice_rows, lambda node: True),
    RowIndex: (rows.row_index, lambda node: True),
    Concat: (rows.concat, lambda node: True),
    Beside: (side_by_side, lambda node: True),
    Repartition: (rows.repartition, lambda node: True),
    ByKey: (windows.by_key, lambda node: True),
    TopK: (ordered.top_k, ordered.ranks_locally),
    Reverse: (ordered.reverse, lambda node: True),
    Permute: (ordered.permute, lambda node: True),
    Sample: (sample, lambda node: True),
    Nearby: (windows.nearby, lambda node: True),
    Carried: (windows.carried, lambda node: True),
    Numbered: (windows.numbers, lambda node: True),
    Ranked: (ranked, lambda node: True),
    Interpolated: (interpolated, lambda node: True),
    Smoothed: (folded.folded(smoothings), lambda node: True),
    WeightedSpread: (folded.folded(spreads), lambda node: True),
    WeightedInTime: (folded.weighted_in_time, lambda node: True),
    InTime: (times.in_time, lambda node: True),
    TimeWindows: (times.time_windows, lambda node: True),
    Around: (windows.whole, lambda node: True),
}


def _pieces(node: Node, run: Spilling) -> Pieces:
    if isinstance(node, Source):
        if node.portions is not None:
            portions = node.portions(run.comm, run.room.portion)
            return Pieces(node.schema, portions, again=True, stored=isinstance(node, StoredSource))
        frame = node.load(run.comm)
        return Pieces(node.schema, lambda: iter([frame]), again=True)
    if isinstance(node, Step) and not node.looks_around and not _is_aggregate(node):
        pieces = run.pieces(node.input)
        return pieces.map(node.apply, node.schema, after_step(node, pieces.placement))
    work = _way(node)
    return run.in_memory(node) if work is None else work(node, run)


def _way(node: Node) -> Callable[[Any, Spilling], Pieces] | None:
    work, can = _IN_BUCKETS.get(type(node), (None, None))
    return work if can is not None and can(node) else None


def held(plan: Node) -> list[Node]:
    """The operators of an optimised plan that have no way in batches: they hold what they read, whatever the budget.

    Some more do where the rows turn out not to be in the order that they need.
    """
    return [node for node in _nodes(plan) if not isinstance(node, Source) and _is_held(node)]


def _is_held(node: Node) -> bool:
    if isinstance(node, Scalars):
        return not aggregate.is_bounded(Select(node.input, node.exprs))
    if isinstance(node, TimeWindows) and not node.grid_is_fixed:
        return True
    row_wise = isinstance(node, Step) and not node.looks_around and not _is_aggregate(node)
    return not row_wise and (type(node) is Around or _way(node) is None)


def _is_aggregate(node: Step) -> bool:
    return isinstance(node, Select) and all(is_scalar(item) for item in node.exprs)
