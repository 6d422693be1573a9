"""Joins whose heavy keys are spread over the ranks give what Polars gives."""

from __future__ import annotations

import polars as pl

import deeprc as rc
from deeprc.table.operators import skew
from tests.ranks import run_on_ranks
from tests.table.compare import assert_same, broadcasting
from tests.table.data import share

HOWS = ("inner", "left", "right", "full", "semi", "anti")
LEFT = pl.DataFrame({"k": [7] * 300 + [None] * 200 + list(range(100)), "a": range(600)})
RIGHT = pl.DataFrame({"k": [9] * 300 + [None] * 200 + list(range(50, 120)) + [7, 7, 1], "b": range(573)})


def _joined(comm: rc.Communicator) -> dict[str, tuple[pl.DataFrame, list[int]]]:
    usual, skew.LEAST_ROWS = skew.LEAST_ROWS, 0
    try:
        with broadcasting(False):
            left, right = (rc.from_polars(share(side, comm.rank, comm.size, "even"), comm) for side in (LEFT, RIGHT))
            tables = {how: left.join(right, on="k", how=how) for how in HOWS}
            return {how: (table.gather(), comm.all_gather(table.collect().height)) for how, table in tables.items()}
    finally:
        skew.LEAST_ROWS = usual


def test_heavy_keys_and_nulls_are_spread() -> None:
    """Every kind of join; no rank has much more of the result than its share."""
    for how, (rows, heights) in run_on_ranks(_joined, size=3)[0].items():
        wanted = LEFT.join(RIGHT, on="k", how=how)  # type: ignore[arg-type]
        assert_same(("frame", rows), ("frame", wanted), ordered=False)
        if how in ("inner", "left", "right", "full"):
            assert max(heights) < 0.6 * wanted.height
