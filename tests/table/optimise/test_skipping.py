"""Row groups that a filter rules out are not read, and what is left is shared evenly."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from tests.ranks import run_on_ranks

ROWS = pl.DataFrame(
    {
        "k": [None if row % 7 == 0 else row for row in range(4000)],
        "g": [f"{row // 100:03}" for row in range(4000)],
        "d": [dt.date(2020, 1, 1) + dt.timedelta(days=row // 50) for row in range(4000)],
        "x": [float("nan") if row % 500 == 3 else row / 2 for row in range(4000)],
    }
)
k, g, d, x = (pl.col(name) for name in "kgdx")
WHERE = {
    "above": (k > 3500,),
    "between": ((k >= 1000) & (pl.lit(1200) > k), x > 0),
    "equal": (g == "017",),
    "days": (d <= dt.date(2020, 1, 3),),
    "none": (k > 10_000,),
    "floats": (x > 1990,),
    "computed": (k % 1000 == 5, k < 2000),
    "either": ((k < 100) | (k > 3900),),
    "null": (k.is_null(), d > dt.date(2020, 3, 1)),
}


def _kept(comm: rc.Communicator, folder: str) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for name, predicates in WHERE.items():
        table = rc.scan_parquet(folder, comm).filter(*predicates)
        part = table.with_row_index().collect()
        heights = comm.all_gather(part.height)
        found[name] = (pl.concat(comm.all_gather(part)), heights, table.explain())
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_filters_skip_row_groups(size: int, tmp_path: Path) -> None:
    """Polars' rows in Polars' order, shared by the ranks though they lie in one corner of the files."""
    ROWS.head(2500).write_parquet(tmp_path / "a.parquet", row_group_size=100)
    ROWS.slice(2500).write_parquet(tmp_path / "b.parquet", row_group_size=70)
    for name, (rows, heights, plan) in run_on_ranks(_kept, str(tmp_path), size=size)[0].items():
        assert_frame_equal(rows, ROWS.filter(*WHERE[name]).with_row_index())
        assert ("by their statistics" in plan) == (size > 1 and name not in ("floats", "either")), name
        if name in ("above", "equal", "days") and size > 1:
            assert max(heights) < 0.75 * sum(heights), name
