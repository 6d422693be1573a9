"""Rows travel as Arrow buffers, exactly, in order, no more of them than needed, and each exchange is on record."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.communicator import SoloCommunicator
from deeprc.journal import recorder, set_sink
from deeprc.table.exchange.exchange import decode, encode, exchange, scatter
from deeprc.table.exchange.partition import ranks_by_key, split
from deeprc.table.files.statistics import estimated_groups
from deeprc.table.operators.shuffle import sampled_groups
from deeprc.table.operators.whole import even_counts
from tests.ranks import run_on_ranks
from tests.table.compare import broadcasting
from tests.table.data import frames, mixed, share

ROWS = 1_000_000
col = pl.col


def exchanges(work: Callable[[], Any]) -> list[dict[str, Any]]:
    """The exchange events that the work records on this rank."""
    events: list[dict[str, Any]] = []
    usual = recorder._sink
    set_sink(lambda kind, fields: events.append(fields) if kind == "exchange" else None)
    try:
        work()
    finally:
        set_sink(usual)
    return events


@pytest.mark.parametrize("name", list(frames()))
def test_every_type_survives_the_wire(name: str) -> None:
    """Encoding and decoding give the same types and values, nulls, NaN and categories included."""
    frame = frames()[name]
    assert_frame_equal(decode(memoryview(encode(frame)), frame.clear()), frame)


def test_rows_without_columns_survive_the_wire() -> None:
    """A frame of no columns keeps its number of rows."""
    assert decode(memoryview(encode(pl.DataFrame(height=5))), pl.DataFrame()).height == 5


def _all_parts(comm: rc.Communicator) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    frame = frames()["mixed"].with_columns(pl.lit(comm.rank).alias("source"))
    words = pl.DataFrame({"word": pl.Series([f"rank{comm.rank}", "both"], dtype=pl.Categorical())})
    size = comm.size
    mine = exchange(split(frame, pl.Series(range(frame.height)) % size, size), comm, "TEST")
    together = exchange([words] * size, comm, "TEST")
    rows = scatter(pl.DataFrame(height=10 if comm.rank == 0 else 0), [10 - size + 1] + [1] * (size - 1), comm, "TEST")
    return mine, together, rows.height


@pytest.mark.parametrize(("backend", "size"), [("gloo", 2), ("gloo", 3), ("mpi", 2)])
def test_parts_arrive_in_rank_order(backend: str, size: int) -> None:
    """Each rank has its rows of every source, source by source, and categories that were other ranks' own."""
    frame = frames()["mixed"]
    for rank, (mine, words, rows) in enumerate(run_on_ranks(_all_parts, size=size, backend=backend)):
        one = frame.gather_every(size, rank)
        assert_frame_equal(mine.drop("source"), pl.concat([one] * size))
        assert mine["source"].to_list() == [source for source in range(size) for _ in range(one.height)]
        assert words["word"].to_list() == [word for source in range(size) for word in (f"rank{source}", "both")]
        assert rows == (10 - size + 1 if rank == 0 else 1)


def _hashes(comm: rc.Communicator) -> list[list[int]]:
    frame = mixed(100, 1).sort("i", descending=bool(comm.rank)).sort("k", "g", "x", "t", "y", maintain_order=True)
    frame = frame.select("k", "g", "x", "c", "e", "l", "s", "y", "m")
    return [ranks_by_key(frame.select(name).sort(name), [pl.col(name)], 7).to_list() for name in frame.columns]


def test_hash_is_the_same_in_every_process() -> None:
    """Equal keys go to one rank, however each process numbers its categories."""
    first, second = run_on_ranks(_hashes, size=2)
    assert first == second


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pl.Series([1, 2], dtype=pl.Int8), pl.Series([1, 2], dtype=pl.UInt64)),
        (pl.Series([1, -2], dtype=pl.Int32), pl.Series([1, -2], dtype=pl.Int128)),
        (pl.Series([0.5, 0.0], dtype=pl.Float32), pl.Series([0.5, -0.0])),
        (pl.Series(["a", "b"], dtype=pl.Categorical), pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"]))),
        (pl.Series([float("nan")]), pl.Series([-float("nan")])),
    ],
)
def test_values_that_join_hash_alike(left: pl.Series, right: pl.Series) -> None:
    """Types that Polars joins with each other, and values that it holds equal, go to one rank."""
    ranks = [ranks_by_key(side.to_frame("key"), [pl.col("key")], 1000).to_list() for side in (left, right)]
    assert ranks[0] == ranks[1]


@pytest.mark.parametrize("size", [1, 2, 8, 9, 40])
def test_split_keeps_every_row_and_their_order(size: int) -> None:
    """By masks for few ranks, in one pass for many: the same parts."""
    frame = mixed(300, 2).with_row_index("row")
    ranks = ranks_by_key(frame, [pl.col("k"), pl.col("g")], size)
    parts = split(frame, ranks, size)
    assert len(parts) == size
    for rank, part in enumerate(parts):
        assert_frame_equal(part, frame.filter(ranks == rank))


def _moved(comm: rc.Communicator) -> dict[str, list[dict[str, Any]]]:
    frame = mixed(4000, 3, keys=50)
    table = rc.from_polars(share(frame, comm.rank, comm.size, "even").select("k", "g", "i", "x"), comm)
    groups = table.group_by("k").agg(pl.col("i").sum())
    plans = {
        "partial": groups,
        "whole": table.group_by("k").agg(pl.col("i").median()),
        "placed": groups.filter(pl.col("i") > 0).rename({"k": "z"}).group_by("z").agg(pl.len()),
        "joined": groups.join(table.group_by("k").agg(pl.len()), on="k"),
        "steps": table.filter(pl.col("i") > 0).with_columns(pl.col("x") + 1).select("x"),
        "shared": groups.join(groups, on="k"),
        "narrow": table.with_columns(pl.col("i").map_batches(pl.Series.reverse)),
        "carried": table.with_columns(pl.col("i").cum_sum()),
    }
    with broadcasting(False):
        return {name: exchanges(plan.collect) for name, plan in plans.items()}


def test_exchanges_are_few_and_on_record() -> None:
    """Partial aggregates are few bytes; rows that are where they have to be stay; common subplans run once."""
    moved = run_on_ranks(_moved, size=2)[0]
    counts = {name: len(events) for name, events in moved.items()}
    assert counts == {
        "partial": 1,
        "whole": 1,
        "placed": 1,
        "joined": 2,
        "steps": 0,
        "shared": 1,
        "narrow": 2,
        "carried": 1,
    }
    partial, whole = moved["partial"][0], moved["whole"][0]
    assert moved["carried"][0]["bytes_sent"] * 5 < whole["bytes_sent"]
    assert partial["bytes_sent"] * 5 < whole["bytes_sent"]
    assert set(partial) == {"operator", "bytes_sent", "bytes_received", "seconds"}
    assert "GROUP BY" in partial["operator"]
    assert moved["narrow"][0]["bytes_received"] < 20_000  # one column of 2,000 int32, not four columns


def _heights(comm: rc.Communicator) -> list[int]:
    same = pl.DataFrame({"k": [7] * 900, "v": range(900)})
    skewed = pl.DataFrame({"k": [1] * 880 + list(range(20)), "v": range(900)})
    return [
        rc.from_polars(share(frame, comm.rank, comm.size, split), comm).sort("k").collect().height
        for frame in (same, skewed)
        for split in ("even", "last")
    ]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_sort_balances_ties_and_skew(size: int) -> None:
    """No rank gets more than its share and a bit, though nearly all keys are equal."""
    for heights in zip(*run_on_ranks(_heights, size=size), strict=True):
        assert sum(heights) == 900
        assert max(heights) <= 900 / size * 1.1


def test_alone_nothing_is_exchanged() -> None:
    """One rank runs the plan as one Polars query."""
    table = rc.from_polars(frames()["mixed"], SoloCommunicator())
    assert exchanges(lambda: table.group_by("k").agg(pl.len()).sort("k").collect()) == []


@pytest.mark.parametrize(("rows", "size"), [(0, 3), (1, 3), (7, 3), (9, 3)])
def test_even_counts(rows: int, size: int) -> None:
    """Every row has one rank, the counts differ by one at most, and a single row is on rank 0."""
    counts = even_counts(rows, size)
    assert sum(counts) == rows
    assert max(counts) - min(counts) <= 1
    assert rows != 1 or counts[0] == 1


@pytest.mark.parametrize("groups", [10, 1_000, 100_000])
def test_groups_are_estimated_from_a_sample(groups: int) -> None:
    """Within a factor of two."""
    dice = random.Random(1)
    sample = [dice.randrange(groups) for _ in range(8192)]
    assert 0.5 < estimated_groups(len(sample), len(set(sample)), 1_000_000) / groups < 2


@pytest.mark.parametrize(
    ("key", "groups"),
    [
        (col("row") // 10, 100_000),
        (col("row") % 1000, 1000),
        (pl.when(col("row") % (ROWS // 8192) == 0).then(-1).otherwise("row"), ROWS * 121 // 122),
        (pl.when(col("row") % 2 == 0).then(-1).otherwise("row"), ROWS // 2),
        (pl.lit("one") + (col("row") * 0).cast(pl.String), 1),
    ],
    ids=["sorted", "periodic", "one key at every step", "half of one key", "one key"],
)
def test_groups_of_rows_in_any_order(key: pl.Expr, groups: int) -> None:
    """What order the rows are in, and how unlike groups are in size, does not mislead: within a factor of two."""
    frame = pl.select(row=pl.int_range(ROWS))
    assert 0.5 < sampled_groups(frame, [key.alias("key")]) / groups < 2
    assert sampled_groups(frame.head(1000), [key.alias("key")]) == frame.head(1000).select(key.n_unique()).item()
