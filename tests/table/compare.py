"""Running many plans in one launch, and comparing what came out with Polars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.table.operators import join
from tests.table.data import frames, share
from tests.table.frame_cases import ALL_CASES

Result = tuple[str, pl.DataFrame | str]


@dataclass(frozen=True)
class Launch:
    """Ranks that run cases over frames; `split` says how rows lie, `broadcast` whether small tables go to all."""

    backend: str
    size: int
    split: str
    names: tuple[str, ...]
    frames: tuple[str, ...]
    broadcast: bool = False


def run_cases(comm: rc.Communicator, launch: Launch) -> dict[tuple[str, str], Result]:
    """Each case over each frame: ("frame", all rows) or ("error", text)."""
    results: dict[tuple[str, str], Result] = {}
    with broadcasting(launch.broadcast):
        for data in launch.frames:
            frame = frames()[data]
            table = rc.from_polars(share(frame, comm.rank, comm.size, launch.split), comm)
            other = rc.from_polars(share(second(frame), comm.rank, comm.size, "even"), comm)
            for name in launch.names:
                results[name, data] = attempt(lambda plan=ALL_CASES[name].plan, t=table, o=other: plan(t, o).gather(0))
    return results if comm.rank == 0 else {}


@contextmanager
def broadcasting(allowed: bool) -> Iterator[None]:
    """Without broadcasts even small tables are joined by hash, as large ones are."""
    usual = join.BROADCAST_BYTES
    join.BROADCAST_BYTES = usual if allowed else -1
    try:
        yield
    finally:
        join.BROADCAST_BYTES = usual


def expected(name: str, data: str) -> Result:
    """What Polars says to the same."""
    frame = frames()[data]
    plan = ALL_CASES[name].plan
    return attempt(lambda: plan(frame.lazy(), second(frame).lazy()).collect())


def second(frame: pl.DataFrame) -> pl.DataFrame:
    """Another table with keys in common with the first."""
    return frame.reverse().head(40).with_columns(pl.col("k") + 1, pl.col("l").cast(frame.schema["l"]))


def attempt(work: Callable[[], pl.DataFrame]) -> Result:
    """What the work gives, or its error as text."""
    try:
        return "frame", work()
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}"


def assert_same(result: Result, wanted: Result, *, ordered: bool) -> None:
    """Same columns, types and rows, floats to a relative 1e-6 (sums add up in another order)."""
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
