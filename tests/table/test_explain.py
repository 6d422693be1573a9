"""The plan can be read before it runs: operators, exchanges, and why rows move."""

from __future__ import annotations

import polars as pl

import deeprc as rc
from tests.ranks import run_on_ranks
from tests.table.data import frames


def _plans(comm: rc.Communicator) -> list[str]:
    table = rc.from_polars(frames()["few"], comm)
    groups = table.filter(pl.col("i") > 0).group_by("k").agg(pl.col("i").sum())
    return [
        groups.sort("i", descending=True).explain(),
        groups.group_by("k").agg(pl.len()).explain(),
        table.with_columns(pl.col("i").ewm_mean(alpha=0.5)).explain(),
        table.join(groups, on="k").explain(),
        table.select(pl.col("i").sum()).explain(),
        table.with_columns((pl.col("i").shift(1) - pl.col("i").max().over("k")).cum_sum() / pl.len()).explain(),
        groups.with_columns(pl.col("i").max().over("k")).explain(),
    ]


def test_explain_shows_operators_and_exchanges() -> None:
    """Top operator first; a second group-by on the same key moves nothing."""
    ordered, placed, around, joined, total, windows, together = run_on_ranks(_plans, size=2)[0]
    assert ordered.splitlines()[0] == "2 ranks, 2 exchanges"
    assert [line.split()[0] for line in ordered.splitlines()[1:]] == [
        "SORT",
        "exchange:",
        "GROUP",
        "exchange:",
        "SELECT",
        "FILTER",
        "FRAMES",
    ]
    assert "aggregated on each rank first" in ordered
    assert placed.startswith("2 ranks, 1 exchange\n")
    assert "not row by row" in around and 'col("i").ewm_mean' in around
    assert joined.startswith("2 ranks, 2 exchanges\n") and "left by hash" in joined and "right by hash" not in joined
    assert "aggregates" in total
    for moved in (
        "1 rows before and 0 after",
        'by hash of [col("k")], and the result back',
        "one row a rank",
        "one row back",
    ):
        assert moved in windows
    assert "not row by row" not in windows
    assert together.startswith("2 ranks, 1 exchange\n")


def test_alone_there_are_no_exchanges() -> None:
    """One rank, one Polars query."""
    text = rc.from_polars(frames()["few"]).sort("k").explain()
    assert text.startswith("1 rank, 0 exchanges\n")
    assert "exchange:" not in text


def test_a_table_prints_its_columns() -> None:
    """Without running anything."""
    assert repr(rc.from_polars(pl.DataFrame({"a": [1]}))) == "Table(a: Int64; 1 rank, lazy)"
