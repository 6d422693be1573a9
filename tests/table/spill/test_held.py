"""What cannot be done within a memory budget says so: in the plan before it runs, and once when it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from tests.ranks import run_on_ranks
from tests.table.budget import spilling
from tests.table.data import share

ROWS = pl.DataFrame({"k": range(4000), "x": [number * 7 % 4001 for number in range(4000)]})
NO_WAY = "has no way in batches"
x = pl.col("x")
HELD: dict[str, Callable[[Any], Any]] = {
    "python": lambda t: t.with_columns(x.map_batches(pl.Series.reverse, return_dtype=pl.Int64).alias("z")),
    "bins": lambda t: t.select(x.hist(bin_count=4)),
    "lists": lambda t: t.select(x.implode()),
    "part": lambda t: t.map_batches(lambda rows: rows, schema={"k": pl.Int64, "x": pl.Int64}),
    "unsorted": lambda t: t.with_columns(z=x.rolling_sum_by("x", "3i")),
}
IN_BATCHES: dict[str, Callable[[Any], Any]] = {
    "median": lambda t: t.with_columns(z=x - x.median()),
    "sorted": lambda t: t.with_columns(z=x.arg_sort()),
    "places": lambda t: t.with_columns(z=x.rank(), y=x.ewm_mean(alpha=0.5), w=x.interpolate()),
    "windows": lambda t: t.rolling("k", period="3i").agg(x.sum()),
    "nearest": lambda t: t.join_asof(t.select("k", y="x"), on="k"),
    "computed": lambda t: t.select((x.max() - x.median()).alias("apart"), x.mode().first().alias("mode")),
}


def _said(comm: rc.Communicator, name: str) -> tuple[str, list[str]]:
    """The plan, and the warnings of this rank."""
    table = rc.from_polars(share(ROWS, comm.rank, comm.size, "even"), comm)
    with spilling(20_000) as events:
        plan = {**HELD, **IN_BATCHES}[name](table)
        said = plan.explain()
        plan.persist()
    return said, [event["message"] for event in events if event["kind"] == "warning"]


@pytest.mark.parametrize("name", HELD)
def test_what_is_held_is_said_before_and_once(name: str) -> None:
    """With its size. Whether rows are in order is known only when they are there."""
    (plan, first), (_, second) = run_on_ranks(_said, name, size=2)
    assert (NO_WAY in plan) == (name != "unsorted"), plan
    (warning,) = first
    assert NO_WAY in warning and "KiB that it reads" in warning and not second
    assert ("a rank holds" if name == "part" else "rank 0 holds") in warning


@pytest.mark.parametrize("name", IN_BATCHES)
def test_what_goes_in_batches_warns_of_nothing(name: str) -> None:
    """Neither before nor after."""
    for plan, warnings in run_on_ranks(_said, name, size=2):
        assert NO_WAY not in plan and not warnings, (plan, warnings)


def _collected(comm: rc.Communicator) -> tuple[str, list[str]]:
    table = rc.from_polars(share(ROWS, comm.rank, comm.size, "even"), comm).sort("x")
    with spilling(20_000) as events:
        said = table.explain()
        table.gather(0)
    return said, [event["message"] for event in events if event["kind"] == "warning"]


def test_a_result_that_is_larger_than_the_memory_is_told_of() -> None:
    """Each rank says so of its part, and rank 0 of what it gathers."""
    (plan, first), (_, second) = run_on_ranks(_collected, size=2)
    assert "is held by collect and gather, not by persist and write_..." in plan
    assert len(first) == 2 and "collect, gather and what is like them" in first[0]
    assert "gather holds the rows of all ranks on one: 62.5 KiB" in first[1]
    assert len(second) == 1


def _compared(comm: rc.Communicator) -> list[bool]:
    rows = ROWS.head(400)
    frames = [rows, rows.with_columns(x=pl.when(pl.col("k") == 77).then(0).otherwise(x)), rows.reverse()]
    tables = [rc.from_polars(share(each, comm.rank, comm.size, "even"), comm) for each in frames]
    moved = rc.from_polars(share(rows, comm.rank, comm.size, "last"), comm)
    with spilling(60_000):
        return [tables[0].equals(other) for other in (moved, *tables[1:])]


def test_tables_are_compared_in_order_in_batches() -> None:
    """However they are split; one value that differs is found, and another order."""
    assert run_on_ranks(_compared, size=2) == [[True, False, False]] * 2


def _written(comm: rc.Communicator, folder: str, form: str) -> int:
    table = rc.from_polars(share(ROWS, comm.rank, comm.size, "even"), comm).with_columns(p=pl.col("k") % 3)
    with spilling(20_000):
        return len(getattr(table, f"write_{form}")(folder, partition_by=["p"]))


@pytest.mark.parametrize("form", ["parquet", "csv", "ipc", "ndjson"])
def test_parts_are_written_in_batches(tmp_path: Path, form: str) -> None:
    """One file of each rank in each folder, with all rows in order."""
    assert run_on_ranks(_written, str(tmp_path / "rows"), form, size=2) == [6, 6]
    read = {"parquet": pl.read_parquet, "csv": pl.read_csv, "ipc": pl.read_ipc, "ndjson": pl.read_ndjson}[form]
    for value in range(3):
        files = sorted((tmp_path / "rows" / f"p={value}").iterdir())
        assert pl.concat([read(file) for file in files]).equals(ROWS.filter(pl.col("k") % 3 == value))
