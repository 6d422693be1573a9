"""Sorting by one column of numbers or times: rows move before they are sorted, ties and skew included."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.table.operators import shuffle
from deeprc.table.operators.sort_ranges import key_of
from tests.ranks import run_on_ranks

_KINDS = {
    "spread": lambda random, rows: random.integers(0, 10**9, rows),
    "one value": lambda random, rows: np.full(rows, 7),
    "skewed": lambda random, rows: np.where(random.random(rows) < 0.8, 3, random.integers(0, 10, rows)),
    "floats": lambda random, rows: np.where(random.random(rows) < 0.1, np.nan, random.random(rows)),
}


def _table(kind: str, rows: int) -> pl.DataFrame:
    return pl.DataFrame({"k": _KINDS[kind](np.random.default_rng(5), rows), "n": np.arange(rows)})


def _sorted_parts(comm: rc.Communicator, round_rows: int) -> dict[str, list[pl.DataFrame]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "ROUND_ROWS", round_rows)
        return _all_sorted(comm)


def _all_sorted(comm: rc.Communicator) -> dict[str, list[pl.DataFrame]]:
    results = {}
    for kind in _KINDS:
        whole = _table(kind, 20_000)
        begin, end = (whole.height * rank // comm.size for rank in (comm.rank, comm.rank + 1))
        part = whole[begin:end]
        for descending in (False, True):
            table = rc.from_polars(part, comm).sort("k", descending=descending, maintain_order=True)
            results[f"{kind} {descending}"] = comm.all_gather(table.collect())
    return results


@pytest.mark.parametrize(("backend", "size", "round_rows"), [("gloo", 2, 20_000), ("mpi", 4, 20_000), ("mpi", 3, 900)])
def test_order_ties_and_shares(backend: str, size: int, round_rows: int) -> None:
    """The order is Polars' stable one, and no rank gets much more than its share, whatever the values are.

    Also where rows travel in rounds.
    """
    results = run_on_ranks(_sorted_parts, round_rows, size=size, backend=backend)[0]
    for kind in _KINDS:
        for descending in (False, True):
            parts = results[f"{kind} {descending}"]
            expected = _table(kind, 20_000).sort("k", descending=descending, maintain_order=True)
            assert_frame_equal(pl.concat(parts), expected)
            assert max(part.height for part in parts) < 1.15 * 20_000 / size


def test_keys_that_compare_quickly() -> None:
    """Texts, nulls, several keys and computed keys take the other way."""
    frame = pl.DataFrame({"i": [2, 1], "t": ["b", "a"], "n": [1, None]})
    assert key_of([pl.col("i")], frame) == "i"
    for by in ([pl.col("t")], [pl.col("n")], [pl.col("i"), pl.col("t")], [pl.col("i") * 2]):
        assert key_of(by, frame) is None
