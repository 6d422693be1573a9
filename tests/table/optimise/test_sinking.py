"""Filters go below what they do not depend on, on the sides that they may, and the rows stay Polars'."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from deeprc.table.optimise.pushdown import optimised
from deeprc.table.plan.lowering import lowered
from deeprc.table.plan.nodes import Filter, Node, Select, Source
from tests.ranks import run_on_ranks
from tests.table.compare import assert_same, broadcasting, second
from tests.table.data import frames, share

LEFT = frames()["mixed"].select("k", "i", "g", "x", "d", "b")
RIGHT = second(frames()["mixed"]).select("k", "g", "x", pl.col("i").alias("j"), pl.col("b").alias("flag"))
k, g, x, i, j = (pl.col(name) for name in "kgxij")


@dataclass(frozen=True)
class Case:
    """A plan over two tables; where its filters are to be: operators as names, tables as t and o."""

    plan: Callable[[Any, Any], Any]
    filters: str


def _join(how: str, *predicates: pl.Expr, **options: Any) -> Callable[[Any, Any], Any]:
    return lambda t, o: t.join(o, on="k", how=how, **options).filter(*predicates)


def _placed(t: Any, operator: str, *args: Any, **options: Any) -> Any:
    """An operator that Polars has not: it changes no row."""
    return getattr(t, operator)(*args, **options) if isinstance(t, rc.Table) else t


CASES = {
    "inner_left": Case(_join("inner", i > 0), "INNER(filter(t), o)"),
    "inner_right": Case(_join("inner", j > 0), "INNER(t, filter(o))"),
    "inner_right_suffix": Case(_join("inner", pl.col("x_right") > 0), "INNER(t, filter(o))"),
    "inner_key": Case(_join("inner", k > 2), "INNER(filter(t), filter(o))"),
    "inner_conjunction": Case(_join("inner", (i > 0) & (j > 0) & (k != 4)), "INNER(filter(t), filter(o))"),
    "inner_mixed": Case(_join("inner", (i > j), (i > 0)), "filter(INNER(filter(t), o))"),
    "inner_key_and_right": Case(_join("inner", (k > 2) | (j > 0)), "INNER(t, filter(o))"),
    "inner_other_names": Case(
        lambda t, o: t.join(o.rename({"k": "z"}), left_on="k", right_on="z").filter(k > 2),
        "INNER(filter(t), RENAME(filter(o)))",
    ),
    "inner_other_types": Case(
        lambda t, o: t.join(o.with_columns(z=k.cast(pl.Int32)), left_on="k", right_on="z").filter(k > 2),
        "INNER(filter(t), WITH(o))",
    ),
    "inner_float_key": Case(
        lambda t, o: t.join(o, on="x").filter((1 / x) > 0), "INNER(filter(t), o)"
    ),  # -0.0 matches 0.0
    "inner_uncoalesced": Case(
        lambda t, o: t.join(o, on="k", coalesce=False).filter(pl.col("k_right") > 2), "INNER(filter(t), filter(o))"
    ),
    "inner_expression": Case(
        lambda t, o: t.join(o, left_on=k + 1, right_on=k).filter(i > 0, j > 0, k > 1), "INNER(filter(t), filter(o))"
    ),
    "inner_two_keys": Case(lambda t, o: t.join(o, on=["k", "g"]).filter(g == "ant"), "INNER(filter(t), filter(o))"),
    "left_left": Case(_join("left", i > 0), "LEFT(filter(t), o)"),
    "left_right": Case(_join("left", j > 0), "filter(LEFT(t, o))"),
    "left_right_null": Case(_join("left", j.is_null()), "filter(LEFT(t, o))"),
    "left_key": Case(_join("left", k > 2), "LEFT(filter(t), filter(o))"),
    "left_key_null": Case(_join("left", k.is_null(), nulls_equal=True), "LEFT(filter(t), filter(o))"),
    "left_both": Case(_join("left", i > 0, j > 0), "filter(LEFT(filter(t), o))"),
    "left_cast": Case(_join("left", i.cast(pl.Int8) > 0), "LEFT(filter(t), o)"),
    "right_right": Case(_join("right", j > 0), "RIGHT(t, filter(o))"),
    "right_left": Case(_join("right", i > 0), "filter(RIGHT(t, o))"),
    "right_key": Case(_join("right", k > 2), "RIGHT(filter(t), filter(o))"),
    "right_other_names": Case(
        lambda t, o: t.join(o, left_on="i", right_on="k", how="right").filter(pl.col("k_right") > 2),
        "RIGHT(t, filter(o))",
    ),
    "full_left": Case(_join("full", i > 0), "filter(FULL(t, o))"),
    "full_key": Case(_join("full", k > 2), "filter(FULL(t, o))"),
    "full_coalesced_key": Case(_join("full", k > 2, coalesce=True), "FULL(filter(t), filter(o))"),
    "full_coalesced": Case(_join("full", k > 2, i > 0, coalesce=True), "filter(FULL(filter(t), filter(o)))"),
    "semi": Case(_join("semi", i > 0, k > 2), "SEMI(filter(t), filter(o))"),
    "anti": Case(_join("anti", i > 0), "ANTI(filter(t), o)"),
    "anti_key": Case(_join("anti", k > 2), "ANTI(filter(t), filter(o))"),
    "cross": Case(
        lambda t, o: t.head(9).join(o, how="cross").filter(i > 0, j > 0, pl.col("k_right") > k),
        "filter(CROSS(filter(HEAD(t)), filter(o)))",
    ),
    "asof": Case(
        lambda t, o: (
            t.sort("d").join_asof(o.with_columns(d=pl.lit(LEFT["d"].max())), on="d", by="k").filter(k > 2, j > 0)
        ),
        "filter(ASOF(SORT(filter(t)), WITH(filter(o))))",
    ),
    "concat": Case(
        lambda t, o: (rc.concat if isinstance(t, rc.Table) else pl.concat)([t, t.sort("i")]).filter(k > 2),
        "CONCAT(filter(t), SORT(filter(t)))",
    ),
    "sort": Case(lambda t, o: t.sort("i", "x", "k").filter(k > 2), "SORT(filter(t))"),
    "sort_around": Case(lambda t, o: t.sort(i.shift(1)).filter(k > 2), "SELECT(SORT(SELECT(WITH(filter(WINDOW(t))))))"),
    "shuffle": Case(lambda t, o: _placed(t, "shuffle", "k").filter(k > 2), "SHUFFLE(filter(t))"),
    "shuffle_at_random": Case(lambda t, o: _placed(t, "shuffle").filter(k > 2), "SHUFFLE(filter(t))"),
    "shuffle_seeded": Case(lambda t, o: _placed(t, "shuffle", seed=1).filter(k > 2), "filter(SHUFFLE(t))"),
    "repartition": Case(lambda t, o: _placed(t, "repartition").filter(k > 2), "REPARTITION(filter(t))"),
    "select": Case(
        lambda t, o: t.sort("i").select("k", z=i, y=i + 1).filter(pl.col("z") > 0), "SELECT(SORT(filter(t)))"
    ),
    "select_computed": Case(
        lambda t, o: t.select(y=i + 1).sort("y").filter(pl.col("y") > 0), "SORT(filter(SELECT(t)))"
    ),
    "select_all": Case(lambda t, o: t.sort("i").select(pl.all()).filter(k > 2), "SELECT(SORT(filter(t)))"),
    "select_scalar": Case(lambda t, o: t.select(pl.lit(7).alias("a")).filter(pl.lit(False)), "filter(SELECT(t))"),
    "with_columns": Case(
        lambda t, o: t.sort("i").with_columns(k=k + 1, y=x).filter(i > 0, pl.col("y") > 0, k > 3),
        "filter(WITH(SORT(filter(t))))",
    ),
    "with_columns_swapped": Case(
        lambda t, o: t.sort("i").with_columns(k=pl.col("i").cast(pl.Int64), i=k).filter(i > 3), "WITH(SORT(filter(t)))"
    ),
    "rename": Case(
        lambda t, o: t.sort("i").rename({"k": "i", "i": "k"}).filter(i > 2, k > 0), "RENAME(SORT(filter(t)))"
    ),
    "drop": Case(lambda t, o: t.sort("i").drop("x").filter(k > 2), "SORT(filter(t))"),
    "group_key": Case(lambda t, o: t.group_by("k", z=g).agg(i.sum()).filter(pl.col("z") != "bee"), "GROUP(filter(t))"),
    "group_aggregate": Case(lambda t, o: t.group_by("k").agg(i.sum()).filter(i > 0, k > 2), "filter(GROUP(filter(t)))"),
    "group_computed_key": Case(lambda t, o: t.group_by(k=k % 3).agg(i.sum()).filter(k > 1), "filter(GROUP(t))"),
    "unique": Case(lambda t, o: t.select("k", "g").unique().filter(k > 2), "UNIQUE(SELECT(filter(t)))"),
    "unique_subset": Case(
        lambda t, o: t.unique(["k"], keep="first", maintain_order=True).filter(k > 2), "UNIQUE(filter(t))"
    ),
    "unique_other": Case(
        lambda t, o: t.unique(["k"], keep="first", maintain_order=True).filter(i > 2), "filter(UNIQUE(t))"
    ),
    "window_key": Case(
        lambda t, o: t.with_columns(s=i.sum().over("k")).filter(k > 2), "SELECT(WITH(WINDOW(filter(t))))"
    ),
    "window_other": Case(
        lambda t, o: t.with_columns(s=i.sum().over("k")).filter(i > 2), "SELECT(WITH(filter(WINDOW(t))))"
    ),
    "shift": Case(lambda t, o: t.with_columns(s=i.shift(1)).filter(i > 2), "SELECT(WITH(filter(WINDOW(t))))"),
    "head": Case(lambda t, o: t.sort("i", "x", "k", "g").head(30).filter(k > 2), "filter(HEAD(SORT(t)))"),
    "slice": Case(lambda t, o: t.slice(5, 30).filter(k > 2), "filter(SLICE(t))"),
    "row_index": Case(lambda t, o: t.with_row_index("n").filter(k > 2), "filter(ROW(t))"),
    "two_filters": Case(
        lambda t, o: t.join(o, on="k").filter(i > 0).filter(j > 0).sort("i", "j").filter(k < 5),
        "SORT(INNER(filter(t), filter(o)))",
    ),
    "may_fail": Case(
        lambda t, o: t.join(o, on="k", how="semi").filter(
            g.cast(pl.Enum(["ant", "bee", "cow", "dog", "eel"])) == "ant"
        ),
        "filter(SEMI(t, o))",
    ),
    "guarded": Case(
        lambda t, o: t.join(o, on="k", how="left").filter(j > 0).filter(i.cast(pl.UInt32) > 1),
        "filter(filter(LEFT(t, o)))",
    ),
    "read_twice": Case(
        lambda t, o: t.sort("i").join(t.sort("i").group_by("k").agg(pl.len()), on="k").filter(k > 2),
        "INNER(SORT(filter(t)), GROUP(SORT(filter(t))))",
    ),
}


def outline(node: Node, first: Node) -> str:
    """The plan's operators; columns that the optimiser selects are left out."""
    if isinstance(node, Source):
        return "t" if node is first else "o"
    inputs = ", ".join(outline(source, first) for source in node.inputs)
    if isinstance(node, Select) and node.pushed:
        return inputs
    return f"{'filter' if isinstance(node, Filter) else node.label().split()[0]}({inputs})"


@pytest.mark.parametrize("name", list(CASES))
def test_filters_go_where_they_may(name: str) -> None:
    """To all sides that a predicate may go to, and to no other."""
    t, o = rc.from_polars(LEFT), rc.from_polars(RIGHT)
    plan = optimised(lowered(CASES[name].plan(t, o).node))
    assert outline(plan, t.node) == CASES[name].filters


def _rows(comm: rc.Communicator, split: str) -> dict[str, pl.DataFrame]:
    t, o = (rc.from_polars(share(frame, comm.rank, comm.size, split), comm) for frame in (LEFT, RIGHT))
    with broadcasting(False):
        return {name: case.plan(t, o).gather() for name, case in CASES.items() if name != "guarded"}


@functools.cache
def _everywhere(size: int, split: str) -> dict[str, pl.DataFrame]:
    results: dict[str, pl.DataFrame] = run_on_ranks(_rows, split, size=size)[0]
    return results


@pytest.mark.parametrize(("size", "split"), [(1, "even"), (2, "even"), (3, "last"), (4, "even")])
@pytest.mark.parametrize("name", [name for name in CASES if name != "guarded"])
def test_filtered_rows_are_those_of_polars(name: str, size: int, split: str) -> None:
    """On any number of ranks, as if nothing were pushed down."""
    # Polars, which has the whole plan where there is one rank, sends predicates of keys to both sides even if 0.0
    # matches -0.0 there.
    as_written = pl.QueryOptFlags(predicate_pushdown=size == 1)
    wanted = CASES[name].plan(LEFT.lazy(), RIGHT.lazy()).collect(optimizations=as_written)
    assert_same(("frame", _everywhere(size, split)[name]), ("frame", wanted), ordered=False)
