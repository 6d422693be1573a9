"""Joins and groups of a rank in buckets are those of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from deeprc import journal
from deeprc.table.operators import buckets, shuffle
from deeprc.table.plan.nodes import Join, JoinHow, Source
from tests.ranks import run_on_ranks
from tests.table.compare import assert_same, broadcasting
from tests.table.data import mixed, share

HOWS: tuple[JoinHow, ...] = ("inner", "left", "right", "full", "semi", "anti")
FLOATS = pl.DataFrame({"f": [0.0, -0.0, float("nan"), 1.5, None, float("nan"), 2.0] * 20, "n": range(140)})


@contextmanager
def _few_rows_a_bucket() -> Iterator[list[int]]:
    """The numbers of buckets that sides were brought into."""
    counts: list[int] = []

    def counted(rounds: Any, empty: pl.DataFrame, keys: Any, count: int) -> list[pl.DataFrame]:
        counts.append(count)
        return usual(rounds, empty, keys, count)

    usual = buckets.in_buckets
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "BUCKET_ROWS", 4)
        patch.setattr(buckets, "FEWEST_BUCKETS", 2)
        patch.setattr(buckets, "in_buckets", counted)
        patch.setattr(shuffle, "in_buckets", counted)
        patch.setattr(shuffle, "ROUND_ROWS", 20)
        yield counts


def _plain(seed: int, keys: int) -> pl.DataFrame:
    """Rows of all types that go into buckets."""
    return mixed(150, seed, keys=keys).select(~pl.selectors.nested())


def _source(frame: pl.DataFrame) -> Source:
    return Source("rows", frame.schema, lambda _: frame.lazy())


def _check(left: pl.DataFrame, right: pl.DataFrame, names: list[str], how: JoinHow, *, nulls_equal: bool) -> None:
    on = tuple(pl.col(name) for name in names)
    node = Join(_source(left), _source(right), on, on, how, nulls_equal=nulls_equal)
    with _few_rows_a_bucket() as counts:
        rows = buckets.joined(node, [left, right]).collect(engine="streaming")
    assert counts == [min(left.height, right.height) // 4] * 2
    assert_same(("frame", rows), ("frame", node.apply(left.lazy(), right.lazy()).collect()), ordered=False)


@pytest.mark.parametrize("nulls_equal", [False, True])
@pytest.mark.parametrize("how", HOWS)
def test_every_type_of_key_finds_its_equals(how: JoinHow, nulls_equal: bool) -> None:
    """Each type that can be a key, nulls, both zeros and NaN, and two keys at once."""
    left, right = _plain(1, 9), _plain(2, 12)
    for name in left.columns:
        _check(left, right, [name], how, nulls_equal=nulls_equal)
    _check(left, right, left.columns[:2], how, nulls_equal=nulls_equal)
    _check(FLOATS, FLOATS.head(70), ["f"], how, nulls_equal=nulls_equal)


def _on_ranks(comm: rc.Communicator, split: str) -> tuple[dict[JoinHow, pl.DataFrame], list[int], list[Any]]:
    rounds: list[Any] = []
    journal.set_sink(lambda kind, fields: rounds.append(fields.get("rounds")) if kind == "exchange" else None)
    with broadcasting(False), _few_rows_a_bucket() as counts:
        left, right = (rc.from_polars(share(_plain(seed, 60), comm.rank, comm.size, split), comm) for seed in (1, 2))
        joined = {how: left.join(right, on="k", how=how).gather() for how in HOWS}
        # A key that is computed.
        joined["semi"] = left.join(right, on=pl.col("k") + 0, how="semi").gather()
    return joined, counts, rounds


@pytest.mark.parametrize("split", ["even", "last"])
def test_ranks_join_in_buckets(split: str) -> None:
    """What the ranks bring to each other, in rounds, they join in buckets; also where one rank has all of it."""
    left, right = _plain(1, 60), _plain(2, 60)
    joined, counts, rounds = run_on_ranks(_on_ranks, split, size=2)[0]
    assert len(counts) == 2 * len(HOWS) + 2
    assert max(filter(None, rounds)) == (4 if split == "even" else 8)
    for how, rows in joined.items():
        wanted = left.join(right, on="k", how=how)
        assert_same(("frame", rows), ("frame", wanted), ordered=False)


# In two halves, or not; of some of them the order of a group's rows is the order of the whole table.
AGGREGATES: dict[str, list[pl.Expr]] = {
    "halves": [pl.len(), pl.col("v").sum(), pl.col("v").max().alias("most")],
    "whole": [
        pl.col("v").median(),
        pl.col("row").alias("rows"),
        pl.col("row").first().alias("first"),
        pl.col("row").last().alias("last"),
    ],
}


def _rows(keys: int) -> pl.DataFrame:
    rows = pl.DataFrame({"row": range(300)})
    texts = ("a" + (pl.col("row") % 3).cast(pl.String)).alias("text")
    return rows.select((pl.col("row") * 7 % keys).alias("k"), texts, (pl.col("row") * 5 % 11).alias("v"), "row")


def _groups_on_ranks(comm: rc.Communicator, split: str, keys: int) -> tuple[dict[str, pl.DataFrame], list[int]]:
    with _few_rows_a_bucket() as counts:
        rows = rc.from_polars(share(_rows(keys), comm.rank, comm.size, split), comm)
        groups = {name: rows.group_by("k", "text").agg(aggs).gather() for name, aggs in AGGREGATES.items()}
        # A key that is computed.
        groups["computed"] = rows.group_by(pl.col("k") % 60).agg(pl.col("row")).gather()
    return groups, counts


@pytest.mark.parametrize("keys", [40, 290])
@pytest.mark.parametrize("split", ["even", "last"])
def test_ranks_group_in_buckets(split: str, keys: int) -> None:
    """Groups are whole and their rows in the order of the table, though the rows come in rounds and go into buckets."""
    rows = _rows(keys)
    groups, counts = run_on_ranks(_groups_on_ranks, split, keys, size=3)[0]
    assert len(counts) == 3
    assert min(counts) >= 2
    for name, aggs in AGGREGATES.items():
        wanted = rows.group_by("k", "text").agg(aggs)
        assert_same(("frame", groups[name]), ("frame", wanted), ordered=False)
    wanted = rows.group_by(pl.col("k") % 60).agg(pl.col("row"))
    assert_same(("frame", groups["computed"]), ("frame", wanted), ordered=False)


def test_few_rows_and_nested_columns_are_joined_at_once() -> None:
    """Buckets are for rows that are many, and cheaply brought together."""
    few = pl.DataFrame({"k": range(100)})
    lists = few.with_columns(l=pl.concat_list("k", "k"))
    for frame, expected in ((few, few), (lists, lists)):
        node = Join(_source(frame), _source(few), (pl.col("k"),), (pl.col("k"),))
        assert "UNION" not in buckets.joined(node, [frame, few]).explain()
        with _few_rows_a_bucket() as counts:
            assert_same(("frame", buckets.joined(node, [frame, few]).collect()), ("frame", expected), ordered=False)
        assert bool(counts) == (frame is few)
