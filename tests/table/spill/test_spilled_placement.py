"""Within a memory budget, too, rows that are where an operator needs them do not move again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from tests.ranks import run_on_ranks
from tests.table.budget import spilling
from tests.table.compare import assert_same, broadcasting
from tests.table.data import share
from tests.table.plan.test_placement import OTHER, PLACED, ROWS

# Where keys are null, rows of outer joins are spread.
_ROWS, _OTHER = ROWS.fill_null(0), OTHER.fill_null(0)
_NULLS = pl.col("k").replace(3, None)
# Those that are here alone: what stays apart, and the kinds of operator that may move rows, in order.
SPILLED: dict[str, tuple[Callable[[Any, Any], Any], list[str]]] = {
    **PLACED,
    "left join of nulls, then group_by": (
        lambda t, o: t.with_columns(_NULLS).join(o, on="k", how="left").group_by("k").agg(pl.len()),
        ["LEFT", "LEFT", "GROUP"],
    ),
    "right join of nulls, then group_by": (
        lambda t, o: t.join(o.with_columns(_NULLS), on="k", how="right").group_by("k").len(),
        ["RIGHT", "RIGHT", "GROUP"],
    ),
    "full join of nulls, then group_by": (
        lambda t, o: t.join(o.with_columns(_NULLS), on="k", how="full", coalesce=True).group_by("k").len(),
        ["FULL", "FULL", "GROUP"],
    ),
    "left join, then group_by": (
        lambda t, o: t.join(o, on="k", how="left").group_by("k").agg(pl.len(), pl.col("y").sum()),
        ["LEFT", "LEFT"],
    ),
    "join, then window": (
        lambda t, o: t.join(o, on="k").with_columns(n=pl.len().over("k"), m=pl.col("x").max().over("k", "g")),
        ["INNER", "INNER"],
    ),
    "window on another key": (
        lambda t, o: _sums(t).with_columns(n=pl.len().over("total")).group_by("k").agg(pl.col("n").sum()),
        ["GROUP", "WINDOW", "WINDOW"],
    ),
}


def _sums(t: Any) -> Any:
    return t.group_by("k").agg(pl.col("x").sum().alias("total"))


def _moved(comm: rc.Communicator, name: str) -> tuple[list[str], pl.DataFrame]:
    t, o = (rc.from_polars(share(frame, comm.rank, comm.size, "even"), comm) for frame in (_ROWS, _OTHER))
    with broadcasting(False), spilling(200_000) as events:
        rows = SPILLED[name][0](t, o).collect()
    moved = [event["operator"].split()[0] for event in events if event["kind"] == "exchange"]
    return moved, pl.concat(comm.all_gather(rows))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", list(SPILLED))
def test_placed_rows_do_not_move_again(name: str, size: int) -> None:
    """As many exchanges as in memory, and no more; the rows are Polars'."""
    plan, wanted = SPILLED[name]
    moved, rows = run_on_ranks(_moved, name, size=size)[0]
    assert moved == wanted
    t = _ROWS.lazy()
    assert_same(("frame", rows), ("frame", plan(t, _OTHER.lazy()).collect()), ordered=False)
