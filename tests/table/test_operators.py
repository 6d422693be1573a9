"""Every operator gives on 1, 2, 3 and 4 ranks, over gloo and mpi, what Polars gives in one process."""

from __future__ import annotations

import functools

import pytest

from tests.ranks import run_on_ranks
from tests.table.cases import JOINS
from tests.table.compare import Launch, Result, assert_same, expected, run_cases
from tests.table.frame_cases import ALL_CASES

ALL = tuple(ALL_CASES)
FEW = ("join_inner", "group_sum", "group_lists", "sort_directions", "unique_first_ordered", "with_columns_mixed")
AROUND_FEW = ("around_over", "around_shift", "around_cumulative", "asof_nearest_None_all", "join_full_keys")
LAUNCHES = {
    "solo": Launch("solo", 1, "even", ALL, ("mixed", "empty")),
    "gloo2": Launch("gloo", 2, "even", ALL, ("empty", "mixed", "distinct")),
    "gloo2_broadcast": Launch("gloo", 2, "even", tuple(JOINS), ("few", "mixed"), broadcast=True),
    "gloo3": Launch("gloo", 3, "last", ALL, ("mixed", "one_row")),
    "gloo4": Launch("gloo", 4, "even", ALL, ("all_null", "skewed")),
    "mpi2": Launch("mpi", 2, "last", FEW, ("mixed", "empty")),
    "mpi4": Launch("mpi", 4, "even", (*FEW, *AROUND_FEW), ("mixed",)),
    "mpi3": Launch("mpi", 3, "even", FEW, ("skewed", "few")),
}
# One rank, three and those over MPI tell most: the others take a minute and a half.
SLOW = ("gloo2", "gloo4")
WANTED = [
    pytest.param(launch, name, data, marks=[pytest.mark.slow] if launch in SLOW else [])
    for launch, what in LAUNCHES.items()
    for name in what.names
    for data in what.frames
]


@functools.cache
def results(launch: str) -> dict[tuple[str, str], Result]:
    """All cases of a launch, run once."""
    what = LAUNCHES[launch]
    return run_on_ranks(run_cases, what, size=what.size, backend=what.backend)[0]


cached_expected = functools.cache(expected)


@pytest.mark.parametrize(("launch", "name", "data"), WANTED)
def test_operator_gives_what_polars_gives(launch: str, name: str, data: str) -> None:
    """The rows of all ranks together are Polars' rows."""
    assert_same(results(launch)[name, data], cached_expected(name, data), ordered=ALL_CASES[name].ordered)
