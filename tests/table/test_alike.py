"""However unlike the ranks' own tables and estimates are, all ranks choose the same, and the answer is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from deeprc import journal
from deeprc.table.files.statistics import Estimate
from deeprc.table.operators import join, skew
from deeprc.table.plan import nodes as plan
from deeprc.table.spill import memory
from deeprc.workspace import set_memory_budget
from tests.ranks import run_on_ranks
from tests.table.compare import assert_same

LEFT = pl.DataFrame({"k": [row % 50 for row in range(3000)], "g": [7] * 2500 + list(range(500)), "x": range(3000)})
RIGHT = pl.DataFrame({"k": [row % 80 for row in range(900)], "g": list(range(900)), "y": range(900)})
x, y = pl.col("x"), pl.col("y")
PLANS: Mapping[str, Callable[[Any, Any], Any]] = {
    "join": lambda t, o: t.join(o, on="k"),
    "join_heavy": lambda t, o: t.join(o, on="g", how="left"),
    "join_full": lambda t, o: t.join(o, on="g", how="full"),
    "group_few": lambda t, o: t.group_by("k").agg(x.sum()),
    "group_many": lambda t, o: t.group_by("x").agg(pl.len()),
    "unique": lambda t, o: t.select("g").unique(),
    "sort": lambda t, o: t.sort("g", "x"),
    "several": lambda t, o: t.join(o, on="k").group_by("g").agg(x.sum(), y.max()).sort("g").filter(y > 300),
}


def _share(frame: pl.DataFrame, comm: rc.Communicator, *, owner: int) -> pl.DataFrame:
    """One rank holds everything but a row, which another holds; the others hold nothing."""
    if comm.rank == owner:
        return frame.slice(1)
    return frame.head(1) if comm.rank == (owner + 1) % comm.size else frame.clear()


def _believing(table: rc.Table, rank: int, size: int) -> rc.Table:
    """One rank takes the table for tiny, one for huge, the others know nothing of it."""
    assert isinstance(table.node, plan.Source)
    rows = {0: 1.0, size - 1: 1e12}.get(rank)
    belief = None if rows is None else Estimate(rows, dict.fromkeys(table.columns, 8.0), counted=True)
    return rc.Table(replace(table.node, statistics=lambda: belief), table.comm)


def _described(kind: str, fields: dict[str, Any]) -> list[str]:
    return [f"{fields['operator']}{' in rounds' * ('rounds' in fields)}"] if kind == "exchange" else []


def _run(comm: rc.Communicator, limit: int, budget: int | None) -> dict[str, tuple[list[list[str]], pl.DataFrame]]:
    """For each plan what each rank has exchanged, and all rows."""
    left = _believing(rc.from_polars(_share(LEFT, comm, owner=0), comm), comm.rank, comm.size)
    right = _believing(rc.from_polars(_share(RIGHT, comm, owner=comm.size - 1), comm), comm.rank, comm.size)
    usual = join.BROADCAST_BYTES, skew.LEAST_ROWS, memory.LEAST
    join.BROADCAST_BYTES, skew.LEAST_ROWS = limit, 0
    results = {}
    try:
        if budget is not None:
            memory.LEAST = 1 << 18
            # Only the last rank, which takes its tables for huge, has hardly any room.
            set_memory_budget(memory.resident_bytes() + (budget if comm.rank == comm.size - 1 else 1 << 40))
        for name, make in PLANS.items():
            moved: list[str] = []
            journal.set_sink(lambda kind, fields, moved=moved: moved.extend(_described(kind, fields)))
            part = make(left, right).collect()
            journal.set_sink(None)
            results[name] = (comm.all_gather(moved), pl.concat(comm.all_gather(part)))
    finally:
        journal.set_sink(None)
        set_memory_budget(None)
        join.BROADCAST_BYTES, skew.LEAST_ROWS, memory.LEAST = usual
    return results


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize(
    ("limit", "budget"),
    [(16 << 20, None), (-1, None), (6000, None), (6000, 64 << 20)],
    ids=["broadcast", "by_hash", "at_the_limit", "spilling"],
)
def test_all_ranks_choose_alike(size: int, limit: int, budget: int | None) -> None:
    """Broadcast, order of aggregation, spreading of keys, spilling: the same exchanges on all ranks, Polars' rows."""
    for name, (moved, rows) in run_on_ranks(_run, limit, budget, size=size)[0].items():
        assert [each for each in moved if each != moved[0]] == [], name
        assert any("in rounds" in each for each in moved[0]) == (budget is not None), name
        assert moved[0], name
        wanted = PLANS[name](LEFT.lazy(), RIGHT.lazy()).collect()
        assert_same(("frame", rows), ("frame", wanted), ordered=name in ("sort", "several"))
