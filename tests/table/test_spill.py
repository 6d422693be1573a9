"""Within a memory budget every operator goes in rounds and spills, and gives what Polars gives."""

from __future__ import annotations

import functools

import pytest

from tests.ranks import run_on_ranks
from tests.table.budget import run_cases_spilling
from tests.table.cases import CASES
from tests.table.compare import Launch, Result, assert_same, expected

ALL = tuple(CASES)
LAUNCHES = {
    "solo": (Launch("solo", 1, "even", ALL, ("mixed",)), 60_000),
    "gloo2": (Launch("gloo", 2, "even", ALL, ("mixed", "empty")), 20_000),
    "gloo3": (Launch("gloo", 3, "last", ALL, ("skewed",)), 8_000),
    "mpi2": (Launch("mpi", 2, "even", ALL, ("all_null",)), 8_000),
}
WANTED = [(launch, name, data) for launch, (what, _) in LAUNCHES.items() for name in what.names for data in what.frames]


@functools.cache
def results(launch: str) -> dict[tuple[str, str], Result]:
    """All cases of a launch, run once."""
    what, room = LAUNCHES[launch]
    return run_on_ranks(run_cases_spilling, what, room, size=what.size, backend=what.backend)[0]


cached_expected = functools.cache(expected)


@pytest.mark.parametrize(("launch", "name", "data"), WANTED)
def test_operator_gives_what_polars_gives(launch: str, name: str, data: str) -> None:
    """The rows of all ranks together are Polars' rows."""
    assert_same(results(launch)[name, data], cached_expected(name, data), ordered=CASES[name].ordered)
