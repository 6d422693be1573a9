"""Running a plan on all ranks. One rank runs it as one Polars query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import polars as pl

from deeprc.communicator import Communicator
from deeprc.table.exchange.exchange import concat
from deeprc.table.operators.beside import run_beside
from deeprc.table.operators.between import run_interpolated
from deeprc.table.operators.bins import run_binned
from deeprc.table.operators.group_by import run_group_by
from deeprc.table.operators.in_order import run_in_order
from deeprc.table.operators.join import run_join
from deeprc.table.operators.keyed import run_join_asof, run_keyed
from deeprc.table.operators.ranks import run_numbered, run_ranked
from deeprc.table.operators.rows import (
    run_concat,
    run_map_part,
    run_permute,
    run_repartition,
    run_reverse,
    run_row_index,
    run_sample,
    run_shuffle,
    run_slice,
    run_top_k,
)
from deeprc.table.operators.smoothing import run_smoothed
from deeprc.table.operators.sort import run_sort, sort_alone
from deeprc.table.operators.times import run_in_time, run_rolled, run_time_windows
from deeprc.table.operators.unique import run_unique
from deeprc.table.operators.unrepeated import run_unrepeated
from deeprc.table.operators.upsample import run_upsampled
from deeprc.table.operators.weighted_in_time import run_weighted_in_time
from deeprc.table.operators.weighted_spread import run_weighted_spread
from deeprc.table.operators.whole import run_step
from deeprc.table.operators.windows import run_by_key, run_carried, run_nearby, run_scalars
from deeprc.table.optimise.pushdown import optimised, uses
from deeprc.table.plan.lowering import lowered
from deeprc.table.plan.nodes import GroupBy, Head, Join, Node, Sort, Source, Step, Unique
from deeprc.table.plan.row_nodes import (
    Beside,
    Concat,
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
)
from deeprc.table.plan.window_nodes import (
    Binned,
    ByKey,
    Carried,
    InOrder,
    Interpolated,
    InTime,
    Nearby,
    Numbered,
    Ranked,
    Rolled,
    Scalars,
    Smoothed,
    TimeWindows,
    WeightedInTime,
    WeightedSpread,
)
from deeprc.table.spill.execute import room_needed, spilled
from deeprc.table.spill.memory import Room
from deeprc.table.spill.pieces import Pieces
from deeprc.table.spill.whole import collected
from deeprc.table.stage import Execution, Stage, compute


def run_plan(plan: Node, comm: Communicator) -> pl.DataFrame:
    """This rank's part of the plan's result. Collective."""
    room = room_needed(plan, comm)
    if room is None:
        return _in_memory(plan, comm)
    with _spilled(plan, comm, room) as pieces:
        return concat([pieces.empty, *collected(pieces.batches(room), room)])


@contextmanager
def opened_plan(plan: Node, comm: Communicator) -> Iterator[pl.DataFrame | Iterator[pl.DataFrame]]:
    """As `run_plan`; or the rows in batches, where all of them are more than the memory budget allows. Collective."""
    room = room_needed(plan, comm)
    if room is None:
        yield _in_memory(plan, comm)
        return
    with _spilled(plan, comm, room) as pieces:
        yield pieces.batches(room)


def _spilled(plan: Node, comm: Communicator, room: Room) -> AbstractContextManager[Pieces]:
    return spilled(optimised(lowered(plan)), plan.schema, comm, room, _stage if comm.size > 1 else _stage_alone)


def _in_memory(plan: Node, comm: Communicator) -> pl.DataFrame:
    if comm.size == 1:
        alone = Execution(comm, _stage_alone)
        return sort_alone(plan, alone) if isinstance(plan, Sort) else compute(alone.stage(plan).frame)
    less = optimised(lowered(plan))
    shared = frozenset(node for node, readers in uses(less).items() if readers > 1)
    part = compute(Execution(comm, _stage, shared).stage(less).frame)
    # Selecting no columns would leave no rows.
    return part.select(plan.schema.names()) if part.width else part


def _stage_alone(node: Node, run: Execution) -> Stage:
    if isinstance(node, Source):
        return Stage(node.load(run.comm))
    if isinstance(node, Sample | Permute | Repartition | MapPart | Unrepeated):
        return _stage(node, run)
    return Stage(node.apply(*(run.stage(source).frame for source in node.inputs)))


def _run_source(node: Source, run: Execution) -> Stage:
    return Stage(node.load(run.comm), streams=True)


def _run_head(node: Head, run: Execution) -> Stage:
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame.head(node.n), node)
    before = sum(height for height, _ in facts[: run.comm.rank])
    return Stage(frame.head(max(0, node.n - before)).lazy(), stage.placement)


_OPERATORS: dict[type[Node], Callable[[Any, Execution], Stage]] = {
    Source: _run_source,
    Step: run_step,
    Head: _run_head,
    Join: run_join,
    GroupBy: run_group_by,
    Sort: run_sort,
    Unique: run_unique,
    Concat: run_concat,
    Beside: run_beside,
    Slice: run_slice,
    TopK: run_top_k,
    Reverse: run_reverse,
    RowIndex: run_row_index,
    Sample: run_sample,
    Permute: run_permute,
    ShuffleByKey: run_shuffle,
    Repartition: run_repartition,
    Keyed: run_keyed,
    MapPart: run_map_part,
    JoinAsof: run_join_asof,
    Unrepeated: run_unrepeated,
    Upsampled: run_upsampled,
    Scalars: run_scalars,
    ByKey: run_by_key,
    Nearby: run_nearby,
    Carried: run_carried,
    Ranked: run_ranked,
    Interpolated: run_interpolated,
    Numbered: run_numbered,
    Smoothed: run_smoothed,
    WeightedSpread: run_weighted_spread,
    WeightedInTime: run_weighted_in_time,
    InTime: run_in_time,
    Rolled: run_rolled,
    InOrder: run_in_order,
    Binned: run_binned,
    TimeWindows: run_time_windows,
}


def _stage(node: Node, run: Execution) -> Stage:
    return next(_OPERATORS[kind] for kind in type(node).__mro__ if kind in _OPERATORS)(node, run)
