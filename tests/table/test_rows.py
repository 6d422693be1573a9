"""What Polars has no operator for: samples, shuffles, partitions and equality, on any number of ranks."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.errors import DataError
from tests.ranks import run_on_ranks
from tests.table.data import frames, share

ROWS = frames()["mixed"].select("k", "g", "x", "c").with_row_index("row")


def _random(comm: rc.Communicator, split: str) -> dict[str, Any]:
    table = rc.from_polars(share(ROWS, comm.rank, comm.size, split), comm)
    return {
        "n": table.sample(31, seed=5).gather(),
        "none": table.sample(0, seed=5).gather(),
        "all": table.sample(ROWS.height, seed=5).gather(),
        "fraction": table.sample(fraction=0.25, seed=6).select("row").gather(),
        "shuffled": table.shuffle(seed=5).gather(),
        "other": table.shuffle(seed=6).gather(),
        "unseeded": table.sample(5).gather(),
        "repeated": table.sample(300, with_replacement=True, seed=7).gather(),
        "mixed": table.sample(31, shuffle=True, seed=5).gather(),
    }


@pytest.mark.parametrize(("size", "split"), [(1, "even"), (2, "last"), (3, "even"), (4, "even")])
def test_random_rows_do_not_depend_on_the_ranks(size: int, split: str) -> None:
    """One seed, one sample and one order; every row at most once."""
    alone = _random(rc.from_polars(ROWS).comm, "even")
    for result in run_on_ranks(_random, split, size=size):
        for name in ("n", "none", "all", "fraction", "shuffled", "other", "repeated", "mixed"):
            assert_frame_equal(result[name], alone[name], categorical_as_str=True)
        assert result["n"].height == 31 and result["n"]["row"].is_sorted() and result["n"]["row"].is_unique().all()
        assert result["repeated"].height == 300 and result["repeated"]["row"].n_unique() < ROWS.height
        assert set(result["mixed"]["row"]) == set(result["n"]["row"]) and not result["mixed"]["row"].is_sorted()
        assert result["fraction"].height == 50 and result["unseeded"].height == 5
        assert_frame_equal(result["all"], ROWS, categorical_as_str=True)
        assert_frame_equal(result["shuffled"].sort("row"), ROWS, categorical_as_str=True)
        assert not result["shuffled"]["row"].is_sorted()
        assert result["shuffled"]["row"].to_list() != result["other"]["row"].to_list()


def _placed(comm: rc.Communicator) -> tuple[list[int], list[int], pl.DataFrame, list[Any], str]:
    table = rc.from_polars(share(ROWS, comm.rank, comm.size, "last"), comm)
    sizes = [ROWS.height - comm.size + 1] + [1] * (comm.size - 1)
    by_key = table.shuffle("g")
    try:
        message = str(table.repartition([1] * comm.size).gather().height)
    except DataError as error:
        message = str(error)
    return (
        [table.repartition().collect().height, table.repartition(sizes).collect().height],
        sizes,
        table.repartition(sizes).repartition().gather(),
        by_key.collect()["g"].unique().to_list(),
        message,
    )


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_rows_move_where_they_are_sent(size: int) -> None:
    """Evenly or to sizes, in order; or to one rank for each key. Sizes that don't add up are refused on all."""
    results = run_on_ranks(_placed, size=size)
    even = [result[0][0] for result in results]
    assert sum(even) == ROWS.height and max(even) - min(even) <= 1
    assert [result[0][1] for result in results] == results[0][1]
    keys = [key for result in results for key in result[3]]
    assert sorted(keys, key=str) == sorted(ROWS["g"].unique().to_list(), key=str)
    for result in results:
        assert_frame_equal(result[2], ROWS, categorical_as_str=True)
        assert f"the table has {ROWS.height}" in result[4]


def _equal(comm: rc.Communicator) -> list[bool]:
    def table(frame: pl.DataFrame, split: str) -> rc.Table:
        return rc.from_polars(share(frame, comm.rank, comm.size, split), comm)

    whole = frames()["mixed"]
    one = table(whole, "even")
    changed = whole.with_columns(pl.when(pl.int_range(pl.len()) == 150).then(99).otherwise("k").alias("k"))
    return [
        one.equals(table(whole, "last")),
        one.equals(table(whole.reverse(), "last"), ordered=False),
        one.equals(table(whole.clear(), "last").union_all(one)),
        table(whole.clear(), "even").equals(table(whole.clear(), "last")),
        one.equals(table(whole.with_columns(pl.col("l").reverse()), "last")),
        one.equals(table(changed, "last")),
        one.equals(table(changed, "even"), ordered=False),
        one.equals(table(whole.head(199), "even")),
        one.equals(table(whole.head(199), "even"), ordered=False),
        one.equals(one.drop("k")),
        one.equals(one.union_all(one.head(1)), ordered=False),
        one.equals(one.cast({"k": pl.Int32})),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_equals(size: int) -> None:
    """All ranks say the same, however the rows are split; a repeat or one value makes a difference."""
    for result in run_on_ranks(_equal, size=size):
        assert result == [True] * 4 + [False] * 8


def _rolled(comm: rc.Communicator) -> list[int]:
    frame = pl.DataFrame({"k": [1, 2, 3, 1, 2, 3], "g": list("aaabbb"), "x": range(6)})
    table = rc.from_polars(share(frame, comm.rank, comm.size, "even"), comm)
    rolled = table.sort("k").rolling("k", period="2i", group_by="g").agg(pl.col("x").max())
    counted = rolled.group_by("k").agg(pl.len())
    return [table.gather().height for table in (rolled, counted, rolled.unique("k"))]


@pytest.mark.parametrize("size", [1, 2])
def test_windows_by_group_are_not_taken_for_sorted(size: int) -> None:
    """Equal keys are found after `rolling` by group of a sorted table; Polars' streaming engine alone misses them."""
    assert run_on_ranks(_rolled, size=size)[0] == [6, 3, 3]
