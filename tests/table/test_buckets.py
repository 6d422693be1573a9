"""A rank's join in buckets gives what the join of the whole gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pytest

import deeprc as rc
from deeprc.table.operators import buckets
from deeprc.table.plan import Join, JoinHow, Source
from tests.ranks import run_on_ranks
from tests.table.compare import assert_same, broadcasting
from tests.table.data import mixed, share

HOWS: tuple[JoinHow, ...] = ("inner", "left", "right", "full", "semi", "anti")
FLOATS = pl.DataFrame({"f": [0.0, -0.0, float("nan"), 1.5, None, float("nan"), 2.0] * 20, "n": range(140)})


@contextmanager
def _few_rows_a_bucket() -> Iterator[list[int]]:
    """The numbers of buckets that sides were brought into."""
    usual, counts = (buckets.BUCKET_ROWS, buckets.FEWEST_BUCKETS, buckets.in_buckets), []

    def counted(frame: pl.DataFrame, keys: tuple[pl.Expr, ...], count: int) -> list[pl.DataFrame]:
        counts.append(count)
        return usual[2](frame, keys, count)

    buckets.BUCKET_ROWS, buckets.FEWEST_BUCKETS, buckets.in_buckets = 4, 2, counted
    try:
        yield counts
    finally:
        buckets.BUCKET_ROWS, buckets.FEWEST_BUCKETS, buckets.in_buckets = usual


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


def _on_ranks(comm: rc.Communicator) -> dict[JoinHow, tuple[pl.DataFrame, list[int]]]:
    with broadcasting(False), _few_rows_a_bucket() as counts:
        left, right = (rc.from_polars(share(_plain(seed, 60), comm.rank, comm.size, "even"), comm) for seed in (1, 2))
        on = left.columns[0]
        return {how: (left.join(right, on=on, how=how).gather(), counts) for how in HOWS}


def test_ranks_join_in_buckets() -> None:
    """What the ranks bring to each other they join in buckets, and have all rows of every kind of join."""
    left, right = _plain(1, 60), _plain(2, 60)
    for how, (rows, counts) in run_on_ranks(_on_ranks, size=2)[0].items():
        assert counts
        wanted = left.join(right, on=left.columns[0], how=how)
        assert_same(("frame", rows), ("frame", wanted), ordered=False)


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
