"""Every operator gives on 1, 2, 3 and 4 ranks, over gloo and mpi, what Polars gives in one process."""

from __future__ import annotations

import functools

import pytest

from tests.ranks import run_on_ranks
from tests.table.cases import CASES
from tests.table.compare import Result, assert_same, expected, run_cases
from tests.table.data import frames

FEW = ["join_inner", "group_sum", "group_lists", "sort_directions", "unique_first_ordered", "with_columns_mixed"]
LAUNCHES = {
    "solo": ("solo", 1, "even", list(CASES)),
    "gloo2": ("gloo", 2, "even", list(CASES)),
    "gloo3": ("gloo", 3, "last", list(CASES)),
    "gloo4": ("gloo", 4, "even", list(CASES)),
    "mpi2": ("mpi", 2, "last", FEW),
    "mpi3": ("mpi", 3, "even", FEW),
}


@functools.cache
def results(launch: str) -> dict[tuple[str, str], Result]:
    """All cases of a launch, run once."""
    backend, size, split, names = LAUNCHES[launch]
    return run_on_ranks(run_cases, names, split, size=size, backend=backend)[0]


cached_expected = functools.cache(expected)


@pytest.mark.parametrize("data", list(frames()))
@pytest.mark.parametrize(
    ("launch", "name"), [(launch, name) for launch, (_, _, _, names) in LAUNCHES.items() for name in names]
)
def test_operator_gives_what_polars_gives(launch: str, name: str, data: str) -> None:
    """The rows of all ranks together are Polars' rows."""
    assert_same(results(launch)[name, data], cached_expected(name, data), ordered=CASES[name].ordered)
