"""Random plans over lists, structs, times, decimals, enums and text: any number of ranks gives what Polars gives."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from tests.ranks import run_on_ranks
from tests.table.compare import Result, assert_same, attempt, broadcasting
from tests.table.data import share
from tests.table.wide_operators import other, plans, run, table

# The operators' names, the seed of the tables, their rows, whether small tables go to all, and how rows lie.
Plan = tuple[list[str], int, int, bool, str]


def _distributed(comm: rc.Communicator, made: list[Plan]) -> list[Result]:
    results = []
    for names, seed, rows, broadcast, split in made:
        with broadcasting(broadcast):
            first = rc.from_polars(share(table(seed, rows), comm.rank, comm.size, split), comm)
            second = rc.from_polars(share(other(seed), comm.rank, comm.size, "last"), comm)
            results.append(attempt(lambda names=names, one=first, two=second: run(names, one, two).gather(0)))
    return results


def _made(seed: int, count: int) -> list[tuple[Plan, bool, pl.DataFrame]]:
    """Plans that Polars can run, whether their result has an order, and that result."""
    dice = random.Random(seed)
    found: list[tuple[Plan, bool, pl.DataFrame]] = []
    while len(found) < count:
        names, ordered = plans(dice)
        at, rows = dice.randrange(10_000), dice.choice([0, 1, 2, 17, 40, 120])
        plan = names, at, rows, dice.random() < 0.5, dice.choice(["even", "even", "last"])
        result: Any = attempt(
            lambda names=names, at=at, rows=rows: run(names, table(at, rows).lazy(), other(at).lazy()).collect()
        )
        if result[0] == "frame":
            found.append((plan, ordered, result[1]))
    return found


@pytest.mark.filterwarnings("ignore:Sortedness of columns")
@pytest.mark.parametrize(("backend", "size", "seed"), [("gloo", 2, 11), ("gloo", 3, 12), ("mpi", 4, 13)])
def test_random_plans_over_many_types(backend: str, size: int, seed: int) -> None:
    """What a plan is made of is in the message, if it gives another result."""
    made = _made(seed, 20)
    results = run_on_ranks(_distributed, [plan for plan, _, _ in made], size=size, backend=backend)[0]
    for (plan, ordered, wanted), result in zip(made, results, strict=True):
        try:
            assert_same(result, ("frame", wanted), ordered=ordered)
        except AssertionError as error:
            raise AssertionError(f"{plan}: {error}") from error
