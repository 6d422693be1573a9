"""Random plans of several operators over random tables: any number of ranks gives what Polars gives."""

from __future__ import annotations

import random
from collections.abc import Callable
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
# one, the third loses it, and the sorts make one (rows that tie in all columns are the same row). Those that end a
# plan give what columns they like: rounded means and medians are not to be compared with others by a later operator.
FREE = {
    "filter": lambda t, o: t.filter(k > 1),
    "filter_below_max": lambda t, o: t.filter(x < x.max()),
    "with_columns": lambda t, o: t.with_columns(k + 1, x=x.fill_nan(None) * 2),
    "centre": lambda t, o: t.with_columns(x - x.min()),
    "over": lambda t, o: t.with_columns(x=x.sum().over("g"), k=k.max().over("g")),
    "repeated": lambda t, o: t.filter(g.is_duplicated(), k.max().over("g") > 0),
    "fill": lambda t, o: t.fill_null(strategy="max"),
    "repartition": lambda t, o: _ours(t, lambda table: table.repartition()),
    "as_it_is": lambda t, o: _ours(t, lambda table: table.map_batches(lambda part: part)),
    "in_list": lambda t, o: t.filter(g.is_in(["a", "", None], nulls_equal=True) | k.is_in([1, 2])),
    "ranks": lambda t, o: t.with_columns(k=k.rank("dense").cast(pl.Int64), x=x.rank("max", descending=True) / 4),
    "part_of_all": lambda t, o: t.filter(x.n_unique() > 2, k >= k.median()),
    "struct": lambda t, o: t.select(s=pl.struct("k", "g"), x="x").unnest("s").select("k", "g", "x"),
    "not_the_mode": lambda t, o: t.filter(k.fill_null(0) != k.drop_nulls().mode().min()),
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
    "concat": lambda t, o: _in_order([t, o.select("k", "g", x=-pl.col("w")), t.filter(k == 1)]),
    "every": lambda t, o: t.gather_every(3, 1),
    "reverse": lambda t, o: t.reverse(),
    "numbered": lambda t, o: t.with_columns(k=pl.int_range(pl.len()) % 4),
    "change": lambda t, o: t.with_columns(k=k.diff(2), x=x.shift(-1).over("g")),
    "interpolated": lambda t, o: t.filter(k.interpolate() > 0.737),
    "unique_last": lambda t, o: t.unique("g", keep="last", maintain_order=True),
    "sort_stable": lambda t, o: t.sort("g", descending=True, maintain_order=True),
    "exploded": lambda t, o: t.with_columns(x=pl.concat_list(x, x + 1)).explode("x").slice(1),
    "asof": lambda t, o: (
        t.drop_nulls("k")
        .sort("k", maintain_order=True)
        .join_asof(o.drop_nulls("k").sort("k", maintain_order=True).select("k", "w"), on="k", strategy="forward")
        .select("k", "g", x=x - pl.col("w"))
    ),
    "runs": lambda t, o: t.with_columns(k=k.rle_id().cast(pl.Int64) % 5),
    "place": lambda t, o: t.with_columns(k=k + k.index_of(1).cast(pl.Int64)),
    "sorted_values": lambda t, o: t.select(k=k.sort(descending=True).head(20)).with_columns(g=pl.lit("a"), x=k / 4),
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
    "modes": lambda t, o: t.select(k=k.mode()).with_columns(g=pl.lit("a"), x=k / 4),
    "unique_values": lambda t, o: t.select(x=x.unique() + 0.0).select(k=pl.lit(2, pl.Int64), g=pl.lit("b"), x="x"),
    "group_places": lambda t, o: t.group_by("g").agg(k.max_by("k"), x=k.bitwise_or() / 2).select("k", "g", "x"),
    "unique_none": lambda t, o: t.unique(["k", "g"], keep="none"),
    "join": lambda t, o: t.join(o, on="k").select("k", "g", x=x + pl.col("w")),
    "join_left": lambda t, o: t.join(o, on=["k"], how="left").select("k", "g", x=x - pl.col("w")),
    "join_string": lambda t, o: t.join(o.rename({"k": "w2"}), on="g").select("k", "g", x=pl.col("w")).unique(),
    "join_cross": lambda t, o: t.top_k(5, by=["k", "g", "x"]).join(o.select("w"), how="cross").select("k", "g", x="w"),
    "join_two_ways": lambda t, o: t.join(o, on=["k", "g"], how="full", nulls_equal=True, coalesce=True).select(
        "k", "g", x=pl.coalesce("x", "w")
    ),
    "join_expression": lambda t, o: t.join(o, left_on=k + 1, right_on=k % 3).select("k", "g", x=pl.col("w")),
    "asof_by": lambda t, o: (
        t.drop_nulls("k")
        .sort("k", "x", maintain_order=True)
        .join_asof(o.drop_nulls("k").unique(["k", "g"], keep="none").sort("k").select("k", "g", "w"), on="k", by="g")
        .select("k", "g", x=pl.col("w"))
    ),
    "bottom_k": lambda t, o: t.bottom_k(12, by=["x", "k", "g"]),
    "union_all": lambda t, o: _union_all(t, o.select("k", "g", x="w")),
    "union": lambda t, o: _union_all(t, o.select("k", "g", x="w")).unique(),
    "difference": lambda t, o: _rows_in(t, o, "difference", "anti"),
    "intersect": lambda t, o: _rows_in(t, o, "intersect", "semi"),
    "shuffle_key": lambda t, o: _ours(t, lambda table: table.shuffle("g")),
    "shuffle": lambda t, o: _ours(t, lambda table: table.shuffle(seed=3)),
    "sample_all": lambda t, o: _ours(t, lambda table: table.sample(fraction=1, shuffle=True, seed=5)),
    "unpivot": lambda t, o: t.unpivot(["k", "x"], index="g").select(
        pl.col("value").cast(pl.Int64, strict=False).alias("k"), "g", x="value"
    ),
    "pivot": lambda t, o: t.pivot("g", ["a", ""], index="k", values="x", aggregate_function="sum").select(
        "k", g=pl.lit("a"), x=pl.col("a") - pl.col("")
    ),
    "counted": lambda t, o: t.group_by("g").agg(k.filter(x > 0).sum(), pl.len()).select("k", "g", x=pl.col("len") / 2),
    "group_of_rank": lambda t, o: t.group_by(k=k.rank("dense").cast(pl.Int64)).agg(g.max(), x.min()),
    "group_rolling": lambda t, o: (
        t.drop_nulls("k")
        .sort("k")
        .rolling("k", period="2i", group_by="g")
        .agg(x.max())
        .select(
            pl.coalesce("k", 0),
            "g",
            "x",  # Polars takes this column for sorted.
        )
    ),
    "group_dynamic": lambda t, o: (
        t.drop_nulls("k").sort("k").group_by_dynamic("k", every="2i", period="3i").agg(g.max(), x.sum())
    ),
    "join_self": lambda t, o: t.join(t.group_by("g").agg(k.max().alias("top")), on="g").select(
        pl.col("top").alias("k"), "g", "x"
    ),
}
SORTS = {
    "sort": lambda t, o: t.sort("k", "g", "x"),
    "sort_down": lambda t, o: t.sort("g", "x", "k", descending=[True, False, True], nulls_last=[True, False, False]),
}
ENDS = {
    "aggregates": lambda t, o: t.select(
        x.mean(),
        x.std().alias("std"),
        g.n_unique(),
        k.median(),
        x.quantile(0.3).alias("q"),
        k.var().alias("var"),
        (k.max() - k.min()).alias("range"),
        k.filter(x > 0).mean().alias("some"),
        pl.len().alias("rows"),
    ),
    "related": lambda t, o: t.fill_nan(None).select(pl.corr("k", "x"), cov=pl.cov("k", "x", ddof=0), skew=k.skew()),
    "shapes": lambda t, o: t.fill_nan(None).select(
        k.skew(bias=False), x.kurtosis(), n=k.unique().len(), m=g.mode().max(), e=(k + 1).sum(), h=g.has_nulls()
    ),
    "frame_mean": lambda t, o: t.mean(),
    "frame_median": lambda t, o: t.median(),
    "frame_nulls": lambda t, o: t.null_count(),
    "group_means": lambda t, o: t.group_by("k", "g").agg(
        x.mean(), x.std().alias("std"), x.median().alias("mid"), x.var().alias("var")
    ),
    "over_means": lambda t, o: t.select("g", x - x.mean().over("k"), k - k.mean(), d=x.std().over("g")),
    "pivot_means": lambda t, o: t.pivot("g", ["a", "", "zz"], index="k", values="x", aggregate_function="mean"),
    "counts": lambda t, o: t.group_by("g").len(name="n"),
}
OPERATORS: dict[str, Any] = {**FREE, **NEEDS_ORDER, **LOSES_ORDER, **SORTS, **ENDS}


def _ours(t: Any, placed: Callable[[Any], Any]) -> Any:
    """What only moves rows is nothing to Polars."""
    return placed(t) if isinstance(t, rc.Table) else t


def _in_order(tables: list[Any]) -> Any:
    return rc.concat(tables) if isinstance(tables[0], rc.Table) else pl.concat(tables)


def _union_all(t: Any, o: Any) -> Any:
    return t.union_all(o) if isinstance(t, rc.Table) else pl.concat([t, o])


def _rows_in(t: Any, o: Any, method: str, how: Any) -> Any:
    """Sets of rows: Polars has no name for them, but a join on all columns. It tells zeros of two signs not apart."""
    left, right = t.with_columns(x.floor() + 0.0), o.select("k", "g", x=pl.col("w").floor() + 0.0)
    if isinstance(t, rc.Table):
        return getattr(left, method)(right)
    return left.unique().join(right, on=["k", "g", "x"], how=how, nulls_equal=True)


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
    end = draw(st.sampled_from([None, None, *ENDS]))
    return names if end is None else [*names, end], ordered and end not in ("group_means", "pivot_means", "counts")


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
    ("backend", "size", "examples"), [("gloo", 2, 25), ("gloo", 3, 25), ("gloo", 4, 20), ("mpi", 2, 12)]
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
