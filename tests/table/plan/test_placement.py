"""Rows that are where an operator needs them do not move again, and what two operators read is computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from tests.ranks import run_on_ranks
from tests.table.compare import assert_same, broadcasting
from tests.table.data import share
from tests.table.exchanges import exchanges_said, operators_moved

ROWS = pl.DataFrame(
    {"k": [row % 40 or None for row in range(600)], "g": [row % 7 for row in range(600)], "x": range(600)}
)
OTHER = pl.DataFrame({"k": [(row % 60 - 3) or None for row in range(300)], "y": range(300)})
total, largest = pl.col("x").sum().alias("total"), pl.col("x").max().alias("largest")


def _sums(t: Any) -> Any:
    return t.group_by("k").agg(total)


def _shuffled(t: Any) -> Any:
    """Polars has no such operator: the rows are the same."""
    return t.shuffle("k") if isinstance(t, rc.Table) else t


# Plans over a table and another, and the kinds of operator that may move rows, in order.
PLACED: dict[str, tuple[Callable[[Any, Any], Any], list[str]]] = {
    "group_by after group_by": (lambda t, o: _sums(t).group_by("k").agg(pl.len()), ["GROUP"]),
    "group_by on more keys": (lambda t, o: _sums(t).group_by("k", "total").agg(pl.len()), ["GROUP"]),
    "group_by on other keys": (lambda t, o: _sums(t).group_by("total").agg(pl.len()), ["GROUP", "GROUP"]),
    "group_by after a computed key": (
        lambda t, o: _sums(t).with_columns(k=pl.col("k") // 2).group_by("k").agg(pl.len()),
        ["GROUP", "GROUP"],
    ),
    "join after group_by": (lambda t, o: _sums(t).join(o, on="k"), ["GROUP", "INNER"]),
    "join of two group_bys": (
        lambda t, o: _sums(t).join(o.group_by("k").agg(pl.len()), on="k"),
        ["GROUP", "GROUP"],
    ),
    "join, then group_by": (lambda t, o: t.join(o, on="k").group_by("k").agg(pl.len()), ["INNER", "INNER"]),
    "left join, then unique": (
        lambda t, o: t.join(o, on="k", how="left").select("k", "g").unique(["k", "g"]),
        ["LEFT", "LEFT"],
    ),
    "right join, then group_by": (lambda t, o: t.join(o, on="k", how="right").group_by("k").len(), ["RIGHT", "RIGHT"]),
    "right join of other names, then group_by": (
        lambda t, o: t.join(o, left_on="g", right_on="k", how="right").group_by("k_right").len(),
        ["RIGHT", "RIGHT"],
    ),
    "right join of other names, then group_by on the left's": (
        lambda t, o: t.join(o, left_on="g", right_on="k", how="right").group_by("k").len(),
        ["RIGHT", "RIGHT", "GROUP"],
    ),
    "right join that keeps both keys": (
        lambda t, o: t.join(o, on="k", how="right", coalesce=False).group_by("k").len(),
        ["RIGHT", "RIGHT", "GROUP"],
    ),
    "full join, then group_by": (
        lambda t, o: t.join(o, on="k", how="full", coalesce=True).group_by("k").agg(pl.len(), pl.col("y").sum()),
        ["FULL", "FULL"],
    ),
    "full join of other names, then join": (
        lambda t, o: t.join(o.rename({"k": "z"}), left_on="k", right_on="z", how="full", coalesce=True).join(
            _sums(t), on="k"
        ),
        ["FULL", "FULL", "GROUP"],
    ),
    "full join that keeps both keys": (
        lambda t, o: t.join(o, on="k", how="full").group_by("k").len(),
        ["FULL", "FULL", "GROUP"],
    ),
    "full join of placed rows": (
        lambda t, o: _sums(t).join(o.group_by("k").len(), on="k", how="full", coalesce=True).group_by("k").len(),
        ["GROUP", "GROUP"],
    ),
    "unique, then group_by": (lambda t, o: t.unique(["k"]).group_by("k").agg(pl.len()), ["UNIQUE"]),
    "unique, then window": (
        lambda t, o: t.unique(["k", "g"]).select("k", "g").with_columns(n=pl.len().over("k", "g")),
        ["UNIQUE"],
    ),
    "shuffle, then all": (
        lambda t, o: _sums(_shuffled(t)).rename({"k": "z"}).join(_shuffled(o), left_on="z", right_on="k"),
        ["SHUFFLE", "SHUFFLE"],
    ),
    "filter and select keep the place": (
        lambda t, o: _sums(_sums(t).filter(pl.col("total") > 3).select("k", x="total")),
        ["GROUP"],
    ),
}


def _moved(comm: rc.Communicator, name: str) -> tuple[list[str], int, pl.DataFrame]:
    t, o = (rc.from_polars(share(frame, comm.rank, comm.size, "even"), comm) for frame in (ROWS, OTHER))
    with broadcasting(False):
        table = PLACED[name][0](t, o)
        return [operator.split()[0] for operator in operators_moved(table)], exchanges_said(table), table.gather()


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("name", list(PLACED))
def test_placed_rows_do_not_move_again(name: str, size: int) -> None:
    """As many exchanges as `explain` says, and no more than are needed; the rows are Polars'."""
    plan, wanted = PLACED[name]
    moved, said, rows = run_on_ranks(_moved, name, size=size)[0]
    assert moved == wanted
    assert said == len(wanted)
    assert_same(("frame", rows), ("frame", plan(ROWS.lazy(), OTHER.lazy()).collect()), ordered=False)


def _common(comm: rc.Communicator) -> tuple[list[str], int, pl.DataFrame]:
    t = rc.from_polars(share(ROWS, comm.rank, comm.size, "even"), comm)
    calls: list[int] = []

    def count(part: pl.Series) -> pl.Series:
        calls.append(len(part))
        return part * 2

    sums = _sums(t).with_columns(pl.col("total").map_batches(count, is_elementwise=True, return_dtype=pl.Int64))
    with broadcasting(False):
        table = sums.join(sums.group_by("total").agg(pl.len()), on="total").join(sums.select("k"), on="k")
        moved = [operator.split()[0] for operator in operators_moved(table)]
    height = comm.all_gather(sum(calls))
    assert "computed once" in table.explain()
    return moved, sum(height), table.gather()


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_common_subplan_is_computed_once(size: int) -> None:
    """Its exchange and its expressions too, though three operators read it."""
    moved, computed, rows = run_on_ranks(_common, size=size)[0]
    assert moved.count("GROUP") == 2
    assert computed == 40
    sums = _sums(ROWS.lazy()).with_columns(pl.col("total") * 2)
    wanted = sums.join(sums.group_by("total").agg(pl.len()), on="total").join(sums.select("k"), on="k").collect()
    assert_same(("frame", rows), ("frame", wanted), ordered=False)
