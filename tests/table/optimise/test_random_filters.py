"""Filters at random places of random plans: pushed down they keep the rows that they keep where they were written."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.table.optimise.pushdown import optimised
from deeprc.table.plan.lowering import lowered
from deeprc.table.plan.nodes import Filter, Node, Source
from tests.ranks import run_on_ranks
from tests.table.compare import assert_same, broadcasting, canonical
from tests.table.data import share
from tests.table.test_properties import other, table

k, g, x, w = (pl.col(name) for name in ("k", "g", "x", "w"))
PREDICATES = {
    "k > 1": k > 1,
    "k is null": k.is_null(),
    "k != 2 missing": k.ne_missing(2),
    "g = a": g == "a",
    "g in": g.is_in(["a", "", None]),
    "x > 0": x > 0,
    "x is NaN": x.is_nan(),
    "k > 0 and g != b": (k > 0) & (g != "b"),
    "k > 3 or x < 0": (k > 3) | (x < 0),
    "k + x > 1": k + x > 1,
    "k = 3 and x > -9 and g not null": (k == 3) & (x > -9) & g.is_not_null(),
    "cast": g.str.len_bytes().cast(pl.Int8) > 0,
    "below max": x < x.max(),
    "over": k.max().over("g") > 2,
}
HOWS = ("inner", "left", "right", "full")


def _wide(how: str, **options: Any) -> Any:
    """All columns of both sides go on, with names that k, g and x come from in turn."""
    return lambda t, o: t.join(o.select("k", "g", x="w"), how=how, **options)


def _narrow(join: Any, *, swap: bool) -> Any:
    def plan(t: Any, o: Any) -> Any:
        joined = join(t, o)
        names = list(joined.collect_schema())
        if not swap:
            return joined.select("k", "g", "x")
        return joined.select(
            *(f"{name}_right" if f"{name}_right" in names else name for name in ("k", "g", "x"))
        ).rename({f"{name}_right": name for name in ("k", "g", "x") if f"{name}_right" in names})

    return plan


KEYS: dict[str, dict[str, Any]] = {
    "k": {"on": "k"},
    "k and g": {"on": ["k", "g"]},
    "k as one": {"on": "k", "coalesce": True},
    "g as two": {"on": "g", "coalesce": False, "nulls_equal": True},
    "k + 1": {"left_on": k + 1, "right_on": k},
    "x": {"on": "x"},
}
JOINS = {
    f"{how} on {keys}{', swapped' * swap}": _narrow(_wide(how, **options), swap=swap)
    for how in HOWS
    for swap in (False, True)
    for keys, options in KEYS.items()
}
OPERATORS: dict[str, Any] = {
    **JOINS,
    "semi": lambda t, o: t.join(o, on="k", how="semi"),
    "anti": lambda t, o: t.join(o, on=["k", "g"], how="anti"),
    "cross": lambda t, o: t.join(o.select(j="k"), how="cross").select("g", "x", k="j"),
    "self": lambda t, o: t.join(t.group_by("k").agg(pl.len().alias("n")), on="k").select("k", "g", x=x + pl.col("n")),
    "concat": lambda t, o: _concat(t, t.with_columns(k=k + 1)),
    "sort": lambda t, o: t.sort("g", "k", "x"),
    "unique": lambda t, o: t.unique(),
    "unique none": lambda t, o: t.unique(["k", "g"], keep="none"),
    "group": lambda t, o: t.group_by("k").agg(g.max(), x.sum()),
    "group alias": lambda t, o: t.group_by("g", j="k").agg(x.min()).select("g", "x", k="j"),
    "group expression": lambda t, o: t.group_by("g", k=k % 3).agg(x.max()),
    "window": lambda t, o: t.with_columns(x=x.sum().over("g"), k=k.max().over("g")),
    "window beside": lambda t, o: t.with_columns(n=x.count().over("k")).select("k", "g", x=x + pl.col("n")),
    "with_columns": lambda t, o: t.with_columns(k=k + 1, j=g),
    "swap": lambda t, o: t.rename({"k": "j"}).with_columns(k=pl.col("j"), i=x).drop("j").select("g", "k", x="i"),
    "select": lambda t, o: t.select(pl.all()).drop("x").with_columns(x=k / 2),
    "fill": lambda t, o: t.fill_null(0),
    "drop_nulls": lambda t, o: t.drop_nulls("k"),
}


def _concat(one: Any, two: Any) -> Any:
    columns = ("k", "g", "x")
    both = [one.select(*columns), two.select(*columns)]
    return rc.concat(both) if isinstance(one, rc.Table) else pl.concat(both)


@st.composite
def plans(draw: st.DrawFn) -> list[str]:
    """Operators, each with filters over it."""
    names: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        names.append(draw(st.sampled_from(list(OPERATORS))))
        names += draw(st.lists(st.sampled_from(list(PREDICATES)), max_size=2))
    return names


def built(names: list[str], first: Any, second: Any) -> Any:
    """The plan over LazyFrames or Tables."""
    for name in names:
        first = first.filter(PREDICATES[name]) if name in PREDICATES else OPERATORS[name](first, second)
        first = first.select("k", "g", "x")
    return first


def evaluated(node: Node, comm: rc.Communicator) -> pl.LazyFrame:
    """The plan as it stands, by Polars."""
    if isinstance(node, Source):
        return node.load(comm)
    return node.apply(*(evaluated(source, comm) for source in node.inputs))


AS_IT_STANDS = pl.QueryOptFlags.none()
CHECKS = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=300, **CHECKS)
@given(plans(), st.integers(0, 99), st.sampled_from([0, 1, 17, 60]))
def test_pushed_down_filters_keep_the_same_rows(names: list[str], seed: int, rows: int) -> None:
    """The counterexample, if there is one, is a list of operators and predicates."""
    first, second = rc.from_polars(table(seed, rows, 5)), rc.from_polars(other(seed, 5))
    plan = built(names, first, second)
    wanted = canonical(evaluated(plan.node, plan.comm).collect(optimizations=AS_IT_STANDS))
    less = optimised(lowered(plan.node))
    assert less.schema == plan.schema
    found = canonical(evaluated(less, plan.comm).collect(optimizations=AS_IT_STANDS))
    assert_frame_equal(found, wanted, rel_tol=1e-6, abs_tol=1e-9)


def test_filters_do_move() -> None:
    """Else the test above would say nothing."""
    t = rc.from_polars(table(1, 60, 5))
    moved = 0
    for name in OPERATORS:
        node = optimised(lowered(built([name, "k > 1", "g = a"], t, rc.from_polars(other(1, 5))).node))
        moved += any(isinstance(each, Filter) and each.pushed for each in _nodes(node))
    assert moved > len(OPERATORS) // 2


def _nodes(node: Node) -> list[Node]:
    return [node, *(each for source in node.inputs for each in _nodes(source))]


def _distributed(comm: rc.Communicator, names: list[str], seed: int, rows: int) -> pl.DataFrame:
    with broadcasting(False):
        first = rc.from_polars(share(table(seed, rows, 5), comm.rank, comm.size, "even"), comm)
        second = rc.from_polars(share(other(seed, 5), comm.rank, comm.size, "last"), comm)
        return built(names, first, second).gather()


@settings(max_examples=12, **CHECKS)
@given(st.sampled_from([2, 3, 4]), plans(), st.integers(0, 99), st.sampled_from([0, 17, 60]))
def test_ranks_keep_the_same_rows(size: int, names: list[str], seed: int, rows: int) -> None:
    """As Polars without any pushdown."""
    lazy = built(names, table(seed, rows, 5).lazy(), other(seed, 5).lazy())
    wanted = lazy.collect(optimizations=AS_IT_STANDS)
    for result in run_on_ranks(_distributed, names, seed, rows, size=size):
        assert_same(("frame", result), ("frame", wanted), ordered=False)
