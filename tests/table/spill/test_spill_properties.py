"""Random plans within memory budgets so small that all of them spill: any number of ranks gives what Polars gives."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deeprc as rc
from tests.ranks import run_on_ranks
from tests.table.budget import spilling
from tests.table.compare import assert_same, attempt
from tests.table.data import mixed, share
from tests.table.test_properties import other, plans, run, table

# Over columns of every type. Those of the first kind keep the order of rows, the others do not.
KEEPS_ORDER: dict[str, Any] = {
    "filter": lambda t, o: t.filter(pl.col("k") > 1),
    "semi_struct": lambda t, o: t.filter(pl.col("i").is_not_null()).sort("d", "u", maintain_order=True),
    "sort_many": lambda t, o: t.sort("e", "x", "t", descending=[True, False, True], maintain_order=True),
    "first_of": lambda t, o: t.unique(["k", "d"], keep="first", maintain_order=True),
    "head": lambda t, o: t.head(60),
    "slice": lambda t, o: t.slice(-70, 50),
    "numbered": lambda t, o: t.with_row_index("number").filter(pl.col("number") % 3 > 0).drop("number"),
    "concat": lambda t, o: (rc.concat if isinstance(t, rc.Table) else pl.concat)([t, o]),
}
LOSES_ORDER: dict[str, Any] = {
    "semi_categories": lambda t, o: t.join(o, on=["c", "e"], how="semi"),
    "anti_lists": lambda t, o: t.join(o, left_on=pl.col("l").list.len(), right_on=pl.col("k"), how="anti"),
    "semi_structs": lambda t, o: t.join(o, on="s", how="semi"),
    "anti_nulls": lambda t, o: t.join(o, on=["d", "b"], how="anti", nulls_equal=True),
    "inner": lambda t, o: t.join(o.select("g", "m").unique("g", keep="none").rename({"m": "w"}), on="g").drop("w"),
    "left": lambda t, o: t.join(o.select("k", w="l").unique("k", keep="none"), on="k", how="left").drop("w"),
    "full": lambda t, o: t.join(o, on=["k", "i", "d"], how="full", coalesce=True).select(*mixed(0, 0).columns),
    "none_of": lambda t, o: t.unique(["e", "b"], keep="none"),
    "repeated": lambda t, o: t.unique(["y", "d", "c"], keep="none"),
}
ENDS: dict[str, Any] = {
    "groups": lambda t, o: t.group_by("c", "d").agg(pl.len(), pl.col("k", "i").sum(), pl.col("t", "u", "m").max()),
    "structs": lambda t, o: t.group_by("s").agg(pl.col("x").count(), pl.col("e").n_unique(), pl.col("i").median()),
    "distinct": lambda t, o: t.select("g", "b", "m", "c").unique(),
    "joined": lambda t, o: t.join(o, on="k", how="full", suffix="_o").select("k", "k_o", "c", "c_o", "l_o", "s", "y_o"),
    "right": lambda t, o: t.join(o.select("t", "e", w="c"), on=["t", "e"], how="right"),
}
OPERATORS = {**KEEPS_ORDER, **LOSES_ORDER, **ENDS}


@st.composite
def plans_of_all_types(draw: st.DrawFn) -> tuple[list[str], bool]:
    """Names of operators, and whether the order of the result's rows is determined."""
    names: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        ordered = not any(name in LOSES_ORDER for name in names)
        names.append(draw(st.sampled_from([*KEEPS_ORDER, *LOSES_ORDER] if ordered else [*LOSES_ORDER, "filter"])))
    end = draw(st.sampled_from([None, *ENDS]))
    names = names if end is None else [*names, end]
    return names, not any(name in LOSES_ORDER or name in ENDS for name in names)


def _of_all_types(names: list[str], first: Any, second: Any) -> Any:
    for name in names:
        first = OPERATORS[name](first, second)
    return first


def _types_spilling(comm: rc.Communicator, names: list[str], seed: int, rows: int, room: int) -> Any:
    with spilling(room, heavy_from_rows=0):
        first = rc.from_polars(share(mixed(rows, seed), comm.rank, comm.size, "even"), comm)
        second = rc.from_polars(share(mixed(rows // 2, seed + 1), comm.rank, comm.size, "last"), comm)
        return attempt(lambda: _of_all_types(names, first, second).gather())


def _spilling(comm: rc.Communicator, names: list[str], seed: int, rows: int, keys: int, room: int) -> Any:
    with spilling(room, heavy_from_rows=0):
        first = rc.from_polars(share(table(seed, rows, keys), comm.rank, comm.size, "even"), comm)
        second = rc.from_polars(share(other(seed, keys), comm.rank, comm.size, "last"), comm)
        return attempt(lambda: run(names, first, second).gather())


_CHECKED = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
LAUNCHES = [("solo", 1), ("mpi", 2), ("gloo", 3)]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "size"), LAUNCHES)
def test_random_plans_spill(backend: str, size: int) -> None:
    """The counterexample, if there is one, is a list of operator names and the numbers that make the tables."""

    @settings(_CHECKED, max_examples=25)
    @given(plans(), st.integers(0, 999), st.sampled_from([2, 17, 120]), st.sampled_from([2, 9]))
    def check(plan: tuple[list[str], bool], seed: int, rows: int, keys: int) -> None:
        names, ordered = plan
        wanted = attempt(run(names, table(seed, rows, keys).lazy(), other(seed, keys).lazy()).collect)
        results = run_on_ranks(_spilling, names, seed, rows, keys, 20_000, size=size, backend=backend)
        for result in results:
            assert_same(result, wanted, ordered=ordered)

    check()


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "size"), LAUNCHES)
def test_random_plans_over_all_types_spill(backend: str, size: int) -> None:
    """Nulls, NaN, texts, categories, times, lists, structs, decimals and bytes come back from disk as they were."""

    @settings(_CHECKED, max_examples=25)
    @given(plans_of_all_types(), st.integers(0, 999), st.sampled_from([0, 9, 160]))
    def check(plan: tuple[list[str], bool], seed: int, rows: int) -> None:
        names, ordered = plan
        wanted = attempt(_of_all_types(names, mixed(rows, seed).lazy(), mixed(rows // 2, seed + 1).lazy()).collect)
        results = run_on_ranks(_types_spilling, names, seed, rows, 40_000, size=size, backend=backend)
        for result in results:
            assert_same(result, wanted, ordered=ordered)

    check()
