"""Joins whose heavy keys are spread over the ranks give what Polars gives."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt

import polars as pl
import pytest

import deeprc as rc
from deeprc import journal
from deeprc.table.operators import skew
from tests.ranks import run_on_ranks
from tests.table.budget import spilling
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


def _uneven(frame: pl.DataFrame, comm: rc.Communicator) -> rc.Table:
    """The first rank has half of the rows, the last one none."""
    edges = [0, frame.height // 2, *([frame.height] * (comm.size - 1))]
    return rc.from_polars(frame.slice(edges[comm.rank], edges[comm.rank + 1] - edges[comm.rank]), comm)


def _random_keys(rows: int, heavy: float, keys: int) -> pl.DataFrame:
    dice = random.Random(3)
    values = ["sea" if dice.random() < heavy else f"land {dice.randrange(keys)}" for _ in range(rows)]
    return pl.DataFrame({"biome": values}).with_row_index("row")


@contextmanager
def _told(budget: int | None) -> Iterator[list[str]]:
    """The warnings of this rank."""
    if budget is None:
        events: list[dict[str, object]] = []
        usual, skew.LEAST_ROWS = skew.LEAST_ROWS, 0
        journal.set_sink(lambda kind, fields: events.append({"kind": kind, **fields}))
    warnings: list[str] = []
    try:
        if budget is None:
            yield warnings
        else:
            with spilling(budget, heavy_from_rows=0) as events:
                yield warnings
    finally:
        if budget is None:
            skew.LEAST_ROWS = usual
            journal.set_sink(None)
        warnings += [str(event["message"]) for event in events if event["kind"] == "warning"]


def _warnings(comm: rc.Communicator, heavy: float, budget: int | None) -> list[str]:
    left, right = _random_keys(60_000, heavy, 3000), _random_keys(4_000, 0.0, 3000)
    with _told(budget) as warnings, broadcasting(False):
        table = _uneven(left, comm).join(_uneven(right, comm), on="biome", how="left")
        for _ in range(2):
            assert sum(comm.all_gather(table.collect().height)) == left.join(right, on="biome", how="left").height
    return warnings


@pytest.mark.parametrize("budget", [None, 4 << 20], ids=["in memory", "spilling"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_heavy_key_of_a_join_is_told_of_once(size: int, budget: int | None) -> None:
    """By rank 0, whoever has its rows, with its value and its share, however often the join runs."""
    heavy = 0.4
    warnings, *others = run_on_ranks(_warnings, heavy, budget, size=size)
    assert others == [[]] * (size - 1)
    assert len(warnings) == 1
    told = re.fullmatch(
        r"LEFT JOIN .*: the key biome='sea' has (about )?(\d+)% of the left rows; such rows are spread over all ranks, "
        "not sent to one",
        warnings[0],
    )
    assert told is not None, warnings[0]
    share = float((_random_keys(60_000, heavy, 3000)["biome"] == "sea").mean())
    # Two ranks have rows, of which each gives 1024 samples, where not all are counted: four standard deviations.
    sampled = 0.0 if budget is not None else 4 * sqrt(heavy * (1 - heavy) / (2 * 1024))
    assert bool(told[1]) == (budget is None)
    assert abs(int(told[2]) / 100 - share) < sampled + 0.005


def test_a_join_without_heavy_keys_warns_of_none() -> None:
    """Nor where keys come in turn, so that every so manieth row has the same one."""
    assert run_on_ranks(_warnings, 0.0, None, size=2) == [[], []]
    assert run_on_ranks(_in_turn, size=2) == [[], []]


def _in_turn(comm: rc.Communicator) -> list[str]:
    rows = pl.DataFrame({"k": [row % 16 for row in range(1024 * 32)], "row": range(1024 * 32)})
    with _told(None) as warnings, broadcasting(False):
        table = rc.from_polars(rows, comm)
        table.join(table.select("k", other="row").head(500), on="k", how="semi").collect()
    return warnings
