"""Operators that have no way in batches: they run as without a budget, over their inputs in files, and say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from deeprc import journal
from deeprc.communicator import Communicator
from deeprc.table.exchange.exchange import together
from deeprc.table.files.statistics import size_text
from deeprc.table.operators.windows import read_columns
from deeprc.table.plan.estimate import Estimates
from deeprc.table.plan.nodes import Node, Source
from deeprc.table.plan.row_nodes import MapPart, with_inputs
from deeprc.table.plan.window_nodes import Around
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.memory import Room
from deeprc.table.spill.pieces import Pieces
from deeprc.table.spill.stored import scan_of_files
from deeprc.table.stage import Execution, Stage
from deeprc.workspace import memory_budget


def in_memory(node: Node, run: Spilling, stage_of: Callable[[Node, Execution], Stage]) -> Pieces:
    """The operator without a budget. Where it is to hold more than the room, a warning says how much. Collective."""
    inputs, sizes = zip(*(_scanned(source, run) for source in node.inputs), strict=True)
    of_ranks = [sum(of_inputs) for of_inputs in zip(*sizes, strict=True)]
    needed = max(of_ranks) if _stays(node) else sum(of_ranks)
    if needed > run.room.total and run.comm.rank == 0:
        where = "a rank" if _stays(node) else "rank 0"
        journal.record(
            "warning",
            message=f"{node.label()} has no way in batches: {where} holds about {size_text(needed)} that it reads at "
            f"once, and what it makes of them; {size_text(run.room.total)} are left of its memory. Give it fewer rows "
            "or columns, or the task more memory=",
        )
    stage = stage_of(with_inputs(node, inputs), Execution(run.comm, stage_of))
    return Pieces(node.schema, lambda: iter([stage.frame]), again=True)


def collected(batches: Iterator[pl.DataFrame], room: Room) -> Iterator[pl.DataFrame]:
    """Batches of which all are held together; where that is more than the room, a warning says so once."""
    size = 0
    for batch in batches:
        before, size = size, size + int(batch.estimated_size())
        if before <= room.total < size:
            journal.record(
                "warning",
                message=f"collect, gather and what is like them hold all of a rank's rows: more than the "
                f"{size_text(room.total)} that are left of its memory. End with persist() or a write_... method, which "
                "write the result piece by piece, or give the task more memory=",
            )
        yield batch


def warn_of_gathered(part: pl.DataFrame, comm: Communicator) -> None:
    """Rank 0 says if the rows of all ranks are more than the memory of one. Collective where a budget is set."""
    budget = memory_budget()
    if budget is None:
        return
    size = sum(comm.all_gather(int(part.estimated_size())))
    if size > budget and comm.rank == 0:
        journal.record(
            "warning",
            message=f"gather holds the rows of all ranks on one: {size_text(size)}, of whose memory "
            f"{size_text(budget)} are for the task. End with persist() or a write_... method, gather fewer rows, or "
            "give the task more memory=",
        )


def bytes_held(node: Node, estimates: Estimates, size: int) -> float | None:
    """About how much of what it reads one of `size` ranks holds at once; None if not known."""
    total = 0.0
    for source in node.inputs:
        found = estimates.of(source)
        if found is None:
            return None
        names = read_columns(node, node.exprs) if isinstance(node, Around) else list(source.schema)
        total += found.rows * sum(found.widths[name] for name in names)
    return total / size if _stays(node) else total


def _stays(node: Node) -> bool:
    """Whether each rank works on its own rows; of all others rank 0 has what they read."""
    return isinstance(node, MapPart)


def _scanned(node: Node, run: Spilling) -> tuple[Source, list[int]]:
    """The rows as a query over files, and how many bytes of them each rank has."""
    pieces = run.pieces(node)
    size = 0

    def counted() -> Iterator[pl.DataFrame]:
        nonlocal size
        for batch in pieces.batches(run.room):
            size += int(batch.estimated_size())
            yield batch

    frame, sizes = together(
        run.comm,
        f"computing its part for {node.label()}",
        lambda: scan_of_files(counted(), pieces.empty, run.new_folder()),
        lambda _: size,
    )
    return Source(node.label(), node.schema, lambda _: frame), sizes
