"""Random plans of several operators over random tables: any number of ranks gives what Polars gives."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deeprc as rc
from tests.ranks import run_on_ranks
from tests.table.compare import assert_same, attempt, broadcasting
from tests.table.data import share

k, g, x = pl.col("k"), pl.col("g"), pl.col("x")
# Each takes and gives the columns k, g, x. The first kind needs no order of rows and keeps it, the second needs
# one, the third loses it, and the last makes one (rows that tie in all columns are the same row).
FREE = {
    "filter": lambda t, o: t.filter(k > 1),
    "filter_below_max": lambda t, o: t.filter(x < x.max()),
    "with_columns": lambda t, o: t.with_columns(k + 1, x=x.fill_nan(None) * 2),
    "centre": lambda t, o: t.with_columns(x - x.min()),
    "over": lambda t, o: t.with_columns(x=x.sum().over("g"), k=k.max().over("g")),
    "repeated": lambda t, o: t.filter(g.is_duplicated(), k.max().over("g") > 0),
    "fill": lambda t, o: t.fill_null(strategy="max"),
    "rename": lambda t, o: t.rename({"k": "j"}).with_columns(k=pl.col("j") % 5).drop("j").select("k", "g", "x"),
}
NEEDS_ORDER = {
    "slice": lambda t, o: t.slice(-40, 30),
    "tail": lambda t, o: t.tail(20),
    "row_index": lambda t, o: t.with_row_index("n").select(k=pl.col("n").cast(pl.Int64) % 6, g="g", x="x"),
    "head": lambda t, o: t.head(25),
    "shift": lambda t, o: t.with_columns(x.shift(1), k=k.cum_max()),
    "nearby": lambda t, o: t.with_columns(k=k.fill_null(0).rolling_sum(3, min_samples=1), x=x.shift(-2)),
    "by_key": lambda t, o: t.with_columns(k=k.shift(1).over("g"), g=g.fill_null(strategy="backward", limit=2)),
    "carried": lambda t, o: t.with_columns(k=k.cum_sum() - k.min(), x=x.cum_max(reverse=True)).filter(k > 0),
    "first_of": lambda t, o: t.filter(k.is_first_distinct() | g.is_last_distinct()),
    "asof": lambda t, o: (
        t.drop_nulls("k")
        .sort("k", maintain_order=True)
        .join_asof(o.drop_nulls("k").sort("k", maintain_order=True).select("k", "w"), on="k", strategy="forward")
        .select("k", "g", x=x - pl.col("w"))
    ),
    "forward_fill": lambda t, o: t.with_columns(g.fill_null(strategy="forward")),
    "group_first": lambda t, o: t.group_by("k", maintain_order=True).agg(g.first(), x.last()),
    "group_lists": lambda t, o: t.group_by("g", maintain_order=True).agg(k, x.last()).select(k.list.first(), "g", "x"),
    "unique_first": lambda t, o: t.unique(["k", "g"], keep="first", maintain_order=True),
}
LOSES_ORDER = {
    "join_right": lambda t, o: t.join(o, on="k", how="right").select("k", "g", x=x - pl.col("w")),
    "join_full": lambda t, o: t.join(o, on="k", how="full", coalesce=True).select("k", "g", x=x + pl.col("w")),
    "join_semi": lambda t, o: t.join(o, on=["k", "g"], how="semi"),
    "join_anti": lambda t, o: t.join(o, on="g", how="anti"),
    "drop_nulls": lambda t, o: t.drop_nulls(["k"]).fill_nan(0.5),
    "top_k": lambda t, o: t.top_k(15, by=["k", "g", "x"]),
    "group_sums": lambda t, o: t.group_by("k").agg(g.max(), x.sum()),
    "group_mixture": lambda t, o: t.group_by("g").agg(k.sum() - k.min(), x.median()).select("k", "g", "x"),
    "group_counts": lambda t, o: t.group_by("k", "g").agg(pl.len().cast(pl.Float64).alias("x")),
    "group_expression": lambda t, o: t.group_by(k=k % 3).agg(g.min(), x.max()),
    "unique": lambda t, o: t.unique(),
    "unique_none": lambda t, o: t.unique(["k", "g"], keep="none"),
    "join": lambda t, o: t.join(o, on="k").select("k", "g", x=x + pl.col("w")),
    "join_left": lambda t, o: t.join(o, on=["k"], how="left").select("k", "g", x=x - pl.col("w")),
    "join_string": lambda t, o: t.join(o.rename({"k": "w2"}), on="g").select("k", "g", x=pl.col("w")).unique(),
    "join_self": lambda t, o: t.join(t.group_by("g").agg(k.max().alias("top")), on="g").select(
        pl.col("top").alias("k"), "g", "x"
    ),
}
SORTS = {
    "sort": lambda t, o: t.sort("k", "g", "x"),
    "sort_down": lambda t, o: t.sort("g", "x", "k", descending=[True, False, True], nulls_last=[True, False, False]),
}
OPERATORS: dict[str, Any] = {**FREE, **NEEDS_ORDER, **LOSES_ORDER, **SORTS}


def table(seed: int, rows: int, keys: int) -> pl.DataFrame:
    """Random rows; the floats are such that sums do not depend on their order."""
    dice = random.Random(seed)
    return pl.DataFrame(
        {
            "k": [dice.choice([None, *range(keys)]) for _ in range(rows)],
            "g": [dice.choice([None, "a", "b", "", "c" * 40]) for _ in range(rows)],
            "x": [dice.choice([None, float("nan"), 0.0, -0.0, dice.randrange(-99, 99) / 4]) for _ in range(rows)],
        },
        schema={"k": pl.Int64, "g": pl.String, "x": pl.Float64},
    )


def other(seed: int, keys: int) -> pl.DataFrame:
    """A table to join with, of at most two rows for a key."""
    rows = table(seed + 1, 2 * keys, keys).unique(["k", "x"], keep="first", maintain_order=True)
    return rows.group_by("k", maintain_order=True).head(2).select("k", "g", pl.col("x").alias("w"))


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[str], bool]:
    """Names of operators, and whether the order of the result's rows is determined."""
    names: list[str] = []
    ordered = True
    for _ in range(draw(st.integers(1, 5))):
        choices = [*FREE, *LOSES_ORDER, *SORTS, *(NEEDS_ORDER if ordered else [])]
        name = draw(st.sampled_from(choices))
        ordered = name in SORTS or (ordered and name not in LOSES_ORDER)
        names.append(name)
    return names, ordered


def run(plan: list[str], first: Any, second: Any) -> Any:
    """The plan over LazyFrames or Tables."""
    for name in plan:
        first = OPERATORS[name](first, second)
    return first


def _distributed(comm: rc.Communicator, plan: list[str], seed: int, rows: int, keys: int, broadcast: bool) -> Any:
    with broadcasting(broadcast):
        first = rc.from_polars(share(table(seed, rows, keys), comm.rank, comm.size, "even"), comm)
        second = rc.from_polars(share(other(seed, keys), comm.rank, comm.size, "last"), comm)
        return attempt(lambda: run(plan, first, second).gather())


@pytest.mark.parametrize(
    ("backend", "size", "examples"), [("gloo", 2, 40), ("gloo", 3, 40), ("gloo", 4, 30), ("mpi", 2, 20)]
)
def test_random_plans(backend: str, size: int, examples: int) -> None:
    """The counterexample, if there is one, is a list of operator names and the numbers that make the tables."""

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(plans(), st.integers(0, 999), st.sampled_from([0, 1, 2, 17, 120]), st.sampled_from([2, 9]), st.booleans())
    def check(plan: tuple[list[str], bool], seed: int, rows: int, keys: int, broadcast: bool) -> None:
        names, ordered = plan
        lazy = run(names, table(seed, rows, keys).lazy(), other(seed, keys).lazy())
        wanted = attempt(lazy.collect)
        for result in run_on_ranks(_distributed, names, seed, rows, keys, broadcast, size=size, backend=backend):
            assert_same(result, wanted, ordered=ordered)

    check()
