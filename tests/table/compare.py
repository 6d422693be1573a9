"""Running many plans in one launch, and comparing what came out with Polars."""

from __future__ import annotations

import polars as pl
from polars.testing import assert_frame_equal

import deeprc as rc
from tests.table.cases import CASES
from tests.table.data import frames, share

Result = tuple[str, pl.DataFrame | str]


def run_cases(comm: rc.Communicator, names: list[str], split: str) -> dict[tuple[str, str], Result]:
    """Each case over each frame: ("frame", all rows) or ("error", text)."""
    results: dict[tuple[str, str], Result] = {}
    for data, frame in frames().items():
        table = rc.from_polars(share(frame, comm.rank, comm.size, split), comm)
        other = rc.from_polars(share(second(frame), comm.rank, comm.size, "even"), comm)
        for name in names:
            results[name, data] = _attempt(lambda plan=CASES[name].plan, t=table, o=other: plan(t, o).gather(0))
    return results if comm.rank == 0 else {}


def expected(name: str, data: str) -> Result:
    """What Polars says to the same."""
    frame = frames()[data]
    plan = CASES[name].plan
    return _attempt(lambda: plan(frame.lazy(), second(frame).lazy()).collect())


def second(frame: pl.DataFrame) -> pl.DataFrame:
    """Another table with keys in common with the first."""
    return frame.reverse().head(40).with_columns(pl.col("k") + 1)


def _attempt(work: object) -> Result:
    try:
        return "frame", work()  # type: ignore[operator]
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}"


def assert_same(result: Result, wanted: Result, *, ordered: bool) -> None:
    """Same columns, types and rows, floats to a relative 1e-9 (sums add up in another order)."""
    assert isinstance(result[1], pl.DataFrame), result[1]
    assert isinstance(wanted[1], pl.DataFrame), wanted[1]
    left, right = result[1], wanted[1]
    assert left.schema == right.schema
    if not ordered:
        left, right = canonical(left), canonical(right)
    assert_frame_equal(left, right, rel_tol=1e-6, abs_tol=1e-9, categorical_as_str=True)


def canonical(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows in an order of their own: by exact columns first, then by floats."""
    by = sorted(frame.columns, key=lambda name: (frame.schema[name].is_float(), frame.columns.index(name)))
    return frame.sort(by) if by else frame
