"""The sort of a rank's own rows by one packed column is Polars' stable sort."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from deeprc.communicator.solo import SoloCommunicator
from deeprc.table.frames import from_polars
from deeprc.table.operators import sort_packed
from deeprc.table.operators.sort_packed import packs, sorted_by

_DTYPES = [
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64),
    *(pl.Date, pl.Time, pl.Datetime("us"), pl.Datetime("ns", "UTC"), pl.Duration("ms")),
]


def _check(keys: pl.Series, *, descending: bool) -> None:
    frame = pl.DataFrame({"t": [f"row {row}" for row in range(len(keys))], "k": keys}).with_row_index("n")
    ordered = sorted_by(frame.get_columns(), "k", descending=descending)
    assert_frame_equal(ordered, frame.sort("k", descending=descending, maintain_order=True))
    assert ordered["k"].flags["SORTED_DESC" if descending else "SORTED_ASC"]


def _values(dtype: pl.DataType) -> st.SearchStrategy[list[float]]:
    """Few that are close, and extremes, so that keys are tied, cut short, and as far apart as can be."""
    if dtype in (pl.Float32, pl.Float64):
        width = 32 if dtype == pl.Float32 else 64
        some = st.sampled_from([0.0, -0.0, float("nan"), -float("nan"), float("inf"), -float("inf"), 1.0, 1.0 + 2**-23])
        return st.lists(some | st.floats(width=width), min_size=2, max_size=60)  # type: ignore[arg-type]
    physical = pl.Series([], dtype=dtype).to_physical().dtype
    low, high = (int(pl.select(bound).item()) for bound in (physical.min(), physical.max()))
    if dtype == pl.Time:
        low, high = 0, 86_399_999_999_999
    return st.lists(st.integers(0, 3) | st.integers(low, high), min_size=2, max_size=60)


@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@given(data=st.data())
def test_any_values(dtype: pl.DataType, vectors: bool, data: st.DataObject) -> None:
    """For every type and any values, with NumPy's sort and without."""
    keys = pl.Series(data.draw(_values(dtype)), dtype=pl.Series([], dtype=dtype).to_physical().dtype).cast(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sort_packed, "_has_vectors", lambda: vectors)
        _check(keys, descending=data.draw(st.booleans()))


_MANY: dict[str, Callable[[np.random.Generator, int], object]] = {
    "numbers": lambda random, rows: random.integers(-rows, rows, rows),
    "wide": lambda random, rows: random.integers(-(2**63), 2**63 - 1, rows),
    "close, and one far off": lambda random, rows: np.append(random.integers(0, 9, rows - 1), 2**62),
    "floats": lambda random, rows: random.normal(size=rows),
    "minutes": lambda random, rows: random.integers(0, 525_600, rows) * 60_000_000 + 1_700_000_000_000_000,
}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("kind", _MANY)
def test_many_rows_in_pieces(kind: str, descending: bool) -> None:
    """So many rows that keys are packed piece by piece, in a column of several chunks."""
    keys = pl.Series(_MANY[kind](np.random.default_rng(3), 100_000))
    _check(pl.concat([keys[:7], keys[7:]], rechunk=False), descending=descending)


def test_what_packs() -> None:
    """Texts, booleans, decimals and the widest integers do not fit in 64 bits with a row number."""
    assert all(packs(dtype() if isinstance(dtype, type) else dtype) for dtype in _DTYPES)
    for dtype in (
        pl.String(),
        pl.Boolean(),
        pl.Decimal(10, 2),
        pl.Int128(),
        pl.UInt128(),
        pl.List(pl.Int64),
        pl.Null(),
    ):
        assert not packs(dtype)


@pytest.mark.parametrize(
    "key", [[3, None, 1, 1], ["c", "a", None, "b"], [datetime(2020, 1, day) for day in (3, 1, 2, 1)]]
)
def test_one_rank(key: list[object]) -> None:
    """A table on one rank is sorted as Polars does, whatever its key; what follows a sort does too."""
    frame = pl.DataFrame({"k": key, "n": range(4)})
    table = from_polars(frame, SoloCommunicator())
    for descending in (False, True):
        ours = table.sort("k", descending=descending, nulls_last=True, maintain_order=True)
        theirs = frame.sort("k", descending=descending, nulls_last=True, maintain_order=True)
        assert_frame_equal(ours.collect(), theirs)
        assert_frame_equal(ours.head(2).collect(), theirs.head(2))
