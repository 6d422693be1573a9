"""What needs all values is shared by the ranks all the same: columns stay where they are."""

from __future__ import annotations

import polars as pl
import pytest
from polars import selectors as cs
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc import journal
from deeprc.table.explain.explain import explain
from tests.ranks import run_on_ranks
from tests.table.data import share

ROWS = pl.DataFrame(
    {"i": [row * 37 % 1009 for row in range(30_000)], "x": [row % 977 / 7 for row in range(30_000)]}
).with_columns(t=pl.datetime(2024, 1, 1, time_unit="ns") + pl.duration(seconds=pl.int_range(pl.len()), time_unit="ns"))
i, x, t = pl.col("i"), pl.col("x"), pl.col("t")
SHARED = {
    "skew": [x.skew(bias=False), x.kurtosis().alias("tails")],
    "places": [
        (x * 1e6 + i).arg_max(),
        x.index_of(138.0).alias("at"),
        i.index_of(36),
        i.max_by(x * 1e6 + i).alias("by"),
    ],
    "times": [t.median(), t.quantile(0.3, "linear").alias("linear"), t.dt.date().quantile(0.7).alias("day")],
    "entropy": [(i + 1).entropy(), x.has_nulls(), i.bitwise_or().alias("bits")],
    "bins": [x.qcut([0.25, 0.5, 0.75], labels=list("abcd"))],
    "rolled": [x.max().rolling("t", period="1m"), (i.sum() - i.min()).rolling("t", period="5s").alias("range")],
    "weighted": [i.ewm_std(alpha=0.01), x.ewm_var(span=30), i.ewm_mean_by("t", half_life="1h").alias("by")],
}


def _shared(comm: rc.Communicator) -> dict[str, tuple[pl.DataFrame, int, str]]:
    """The result, the bytes that all ranks have sent for it, and the plan."""
    table = rc.from_polars(share(ROWS, comm.rank, comm.size, "even"), comm)
    results = {}
    for name, expressions in SHARED.items():
        sent: list[int] = []
        journal.set_sink(lambda kind, fields, sent=sent: sent.append(fields.get("bytes_sent", 0)))
        part = table.select(*expressions).collect()
        journal.set_sink(None)
        rows = pl.concat(comm.all_gather(part))
        results[name] = (rows, sum(comm.all_gather(sum(sent))), table.select(*expressions).explain())
    return results


@pytest.mark.parametrize("size", [2, 4])
def test_columns_stay_where_they_are(size: int) -> None:
    """Of columns of a quarter of a megabyte some kilobytes travel, and the plan does not say that more would."""
    for name, (rows, sent, plan) in run_on_ranks(_shared, size=size)[0].items():
        assert sent < 40_000, name
        assert "not row by row" not in plan, name
        wanted = ROWS.lazy().select(*SHARED[name]).collect()
        assert_frame_equal(rows, wanted, rel_tol=1e-6)


@pytest.mark.parametrize(
    "expressions",
    [
        [i.sort(), x.unique().sort().head(3)],
        [pl.all().sort()],
        [(x - x.mean().over("i")).abs().rolling_mean(3).over("i")],
        [i.cum_sum().over(order_by="x")],
        [i.arg_sort(), x.rle(), (t > t.min()).arg_true(), x.gather_every(5).alias("fifth")],
        [x.is_in(x.filter(i > 3).unique().implode())],
        [pl.int_range(1, pl.len() + 1) / (pl.len() + 1)],
        [(cs.float() - cs.float().mean()) / cs.float().std()],
        [pl.rolling_corr("i", "x", window_size=3).alias("corr"), i.approx_n_unique()],
    ],
    ids=["several", "all", "nested", "ordered", "places", "list", "numbers", "scaled", "counted"],
)
def test_no_rank_computes_for_all(expressions: list[pl.Expr]) -> None:
    """The plan has an exchange for each of these, and none that brings all values to one rank."""
    plan = explain(rc.from_polars(ROWS).select(*expressions).node, 2)
    assert "not row by row" not in plan and "all rows to rank 0" not in plan


def _first_of_equal(comm: rc.Communicator) -> pl.DataFrame:
    frame = pl.DataFrame({"k": [0, 2, 1, 2, 2, 0], "g": list("ababab")})
    table = rc.from_polars(share(frame, comm.rank, comm.size, "even"), comm)
    k = pl.col("k")
    return table.select(k.arg_max(), low=k.arg_min(), by=pl.col("g").max_by("k")).gather()


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_first_of_equal_values_is_found(size: int) -> None:
    """Whatever rank has it, and however many ranks there are."""
    for result in run_on_ranks(_first_of_equal, size=size):
        assert result.row(0) == (1, 0, "b")


def _lots(comm: rc.Communicator) -> list[pl.DataFrame]:
    frame = pl.DataFrame({"k": [row % 5 for row in range(300)]}).with_columns(pl.col("k").replace(3, None))
    table = rc.from_polars(share(frame, comm.rank, comm.size, "even"), comm)
    return [table.with_columns(r=pl.col("k").rank("random")).gather() for _ in range(2)]


@pytest.mark.parametrize("size", [2, 3])
def test_equal_values_are_ranked_by_chance(size: int) -> None:
    """Each rank once, in the order of the values, nulls without one; and not twice in the same order."""
    for one, other in run_on_ranks(_lots, size=size):
        ranked = one.sort("r", nulls_last=True)
        assert ranked["r"].drop_nulls().to_list() == list(range(1, 241))
        assert ranked["k"].drop_nulls().is_sorted() and ranked["k"][240:].null_count() == 60
        assert one["r"].to_list() != other["r"].to_list()
