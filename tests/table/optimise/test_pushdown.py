"""Filters and columns are cut before the exchange, and the answer stays the same."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.table.optimise.pushdown import optimised
from deeprc.table.plan.nodes import Filter, Join, Node, Select, Sort, Source
from tests.table.data import frames

LEFT = rc.from_polars(frames()["mixed"].select("k", "g", "x", "i"))
RIGHT = rc.from_polars(frames()["skewed"].select("k", "g", "x", pl.col("b").alias("flag")))


def names_into(plan: Node, kind: type[Node]) -> list[list[str]]:
    """The columns that go into the first operator of a kind, for each of its inputs."""
    node = plan
    while not isinstance(node, kind):
        node = node.inputs[0]
    return [source.schema.names() for source in node.inputs]


def test_only_columns_that_are_read_go_into_a_join() -> None:
    """Keys, what is selected later, and the namesake that decides who gets the suffix."""
    joined = LEFT.join(RIGHT, on="k")
    assert names_into(optimised(joined.select("i", "flag").node), Join) == [["k", "i"], ["k", "flag"]]
    assert names_into(optimised(joined.select("x_right").node), Join) == [["k", "x"], ["k", "x"]]
    assert names_into(optimised(joined.group_by("g").agg(pl.len()).node), Join) == [["k", "g"], ["k", "g"]]
    assert names_into(optimised(joined.select(pl.all()).node), Join) == [["k", "g", "x", "i"], ["k", "g", "x", "flag"]]


def test_only_columns_that_are_read_go_into_a_sort() -> None:
    """The keys go too."""
    assert names_into(optimised(LEFT.sort("i").rename({"g": "z"}).select("z").node), Sort) == [["g", "i"]]


def test_a_filter_goes_below_exchanges() -> None:
    """Below a sort, and into the side of a join that has the columns; not where it looks around."""
    sunk = optimised(LEFT.sort("i").filter(pl.col("k") > 1).node)
    assert isinstance(sunk, Sort) and isinstance(sunk.input, Filter) and isinstance(sunk.input.input, Source)
    joined = optimised(LEFT.join(RIGHT, on="k", how="left").filter(pl.col("i") > 1).node)
    assert isinstance(joined, Join) and isinstance(joined.left, Filter)
    right = optimised(LEFT.join(RIGHT, on="k", how="left").filter("flag").node)
    assert isinstance(right, Filter)
    around = optimised(LEFT.sort("i").filter(pl.col("k") > pl.col("k").mean()).node)
    assert isinstance(around, Filter)


def test_what_two_operators_read_stays_one() -> None:
    """A common subplan is neither pruned twice nor run twice."""
    common = LEFT.sort("i")
    both = optimised(common.join(common.select("k", pl.col("i").alias("j")).unique(), on="k").select("j").node)
    assert isinstance(both, Select) and isinstance(both.input, Join)
    left, right = both.input.inputs
    assert left.inputs[0] is right.inputs[0].inputs[0]


@pytest.mark.parametrize(
    "table",
    [
        LEFT.join(RIGHT, on="k").select("x_right", "flag").filter("flag"),
        LEFT.join(RIGHT, left_on="i", right_on="k", how="left").filter(pl.col("k") > 1).drop("x", "x_right"),
        LEFT.join(RIGHT, left_on=pl.col("k") + 1, right_on=pl.col("k")).select("g", "flag"),
        LEFT.rename({"k": "z"}).sort("z", "i", maintain_order=True).filter(pl.col("z") > 1).select(pl.len()),
        LEFT.with_columns(y=pl.col("x") + 1).unique(["k", "g"], keep="none").filter(pl.col("k") > 2).select("i"),
        LEFT.join(LEFT.group_by("k").agg(pl.len()), on="k").filter(pl.col("k") == 3).select("len", "g"),
    ],
    ids=str,
)
def test_the_answer_stays_the_same(table: rc.Table) -> None:
    """The optimised plan, run by Polars, gives the original's columns and rows."""

    def run(node: Node) -> pl.LazyFrame:
        return node.load(table.comm) if isinstance(node, Source) else node.apply(*map(run, node.inputs))

    cut = run(optimised(table.node)).select(table.columns).collect()
    assert_frame_equal(cut, run(table.node).collect(), check_row_order=False)
