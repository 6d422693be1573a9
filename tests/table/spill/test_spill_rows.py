"""Within a memory budget rows that are chosen, ordered or counted are those that they are without one."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

import deeprc as rc
from tests.ranks import run_on_ranks
from tests.table.budget import spilling
from tests.table.compare import assert_same
from tests.table.data import mixed, share

DATA = mixed(900, 11, keys=40)
x, i, k = pl.col("x"), pl.col("i"), pl.col("k")
# What chance decides is compared with the same in memory; it is the same on any number of ranks.
BY_CHANCE: dict[str, Callable[[rc.Table], rc.Table]] = {
    "sample": lambda t: t.sample(77, seed=5),
    "sample_all": lambda t: t.sample(fraction=1.0, seed=6),
    "sample_none": lambda t: t.sample(0, seed=6),
    "sample_drawn": lambda t: t.sample(fraction=1.5, with_replacement=True, seed=7),
    "shuffle": lambda t: t.shuffle(seed=8),
}
DETERMINED: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "reverse": lambda t: t.reverse(),
    "gather_every": lambda t: t.gather_every(7, 3),
    "group_ordered_selector": lambda t: t.select("k", "i", "g").group_by("k", maintain_order=True).agg(pl.all().last()),
    "group_ordered_median": lambda t: t.group_by("k", "g", maintain_order=True).agg(i.median(), pl.len()),
    "distinct_values": lambda t: t.select(k.n_unique(), pl.col("c").n_unique(), s=pl.col("l").n_unique()),
    "distinct_alone": lambda t: t.select(pl.col("g").n_unique()),
    "quantiles": lambda t: t.select(
        i.median(), *(x.quantile(0.37, how).alias(how) for how in ("nearest", "lower", "higher", "midpoint", "linear"))
    ),
    "mixed_ways": lambda t: t.select(
        i.sum(),
        pl.len(),
        (x.max() - i.median()).alias("apart"),
        pl.col("t").median(),
        n=k.n_unique(),
        q=i.quantile(0.9),
    ),
    "of_nothing": lambda t: t.filter(i > 1000).select(i.median(), k.n_unique(), s=i.sum(), m=pl.col("d").max()),
}


def _spilled(comm: rc.Communicator, name: str) -> tuple[pl.DataFrame, bool]:
    table = rc.from_polars(share(DATA, comm.rank, comm.size, "even"), comm)
    plan = BY_CHANCE.get(name) or DETERMINED[name]
    with spilling(200_000) as events:
        rows = plan(table).gather(0)
    return rows, any(event.get("bytes_spilled", 0) for event in events)


def _many_best(comm: rc.Communicator, k: int) -> pl.DataFrame:
    table = rc.from_polars(share(DATA, comm.rank, comm.size, "last"), comm)
    with spilling(200_000):
        return table.select("x", "g").top_k(k, by=["x", "g"], reverse=[False, True]).gather(0)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", list(BY_CHANCE))
def test_chance_chooses_as_in_memory(name: str, size: int) -> None:
    """The same rows in the same order."""
    rows, _ = run_on_ranks(_spilled, name, size=size, backend="gloo" if size > 1 else "solo")[0]
    assert_same(("frame", rows), ("frame", BY_CHANCE[name](rc.from_polars(DATA)).collect()), ordered=True)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", list(DETERMINED))
def test_rows_and_aggregates_are_polars(name: str, size: int) -> None:
    """In Polars' order, where it has one."""
    rows, _ = run_on_ranks(_spilled, name, size=size, backend="gloo" if size > 1 else "solo")[0]
    assert_same(("frame", rows), ("frame", DETERMINED[name](DATA.lazy()).collect()), ordered=True)


@pytest.mark.parametrize("k", [0, 3, 700])
@pytest.mark.parametrize("size", [1, 3])
def test_the_best_of_many(size: int, k: int) -> None:
    """Whether they fit into a batch or not: those that Polars takes."""
    rows = run_on_ranks(_many_best, k, size=size, backend="gloo" if size > 1 else "solo")[0]
    wanted = DATA.select("x", "g").top_k(k, by=["x", "g"], reverse=[False, True])
    assert_same(("frame", rows), ("frame", wanted), ordered=False)
