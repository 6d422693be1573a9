"""The exchange in two levels gives what the flat one gives; the cost model says when it pays."""

from __future__ import annotations

import random

import pytest

import deeprc as rc
from deeprc.table.exchange.cost import DEFAULT, flat_s, two_level_s, two_levels_pay
from deeprc.table.exchange.two_levels import in_two_levels, is_even, nodes_of
from tests.ranks import run_on_ranks


def _both_ways(comm: rc.Communicator, nodes: list[str]) -> bool:
    chance = random.Random(comm.rank)
    buffers = [chance.randbytes(chance.choice([0, 1, 63, 64, 65, 5000])) for _ in range(comm.size)]
    flat = [bytes(part) for part in comm.all_to_all(buffers)]
    assert len(set(nodes_of(comm))) == 1
    return [bytes(part) for part in in_two_levels(comm, buffers, nodes)] == flat


@pytest.mark.parametrize("backend", ["mpi", "gloo"])
@pytest.mark.parametrize("nodes", [["a", "a", "b", "b"], ["a", "b", "a", "b"], ["a", "b", "c", "d"], ["a"] * 4])
def test_same_bytes_as_flat(backend: str, nodes: list[str]) -> None:
    """Two ranks on each of two pretend nodes, however they are numbered; one rank a node; one node."""
    assert all(run_on_ranks(_both, nodes, size=4, backend=backend)[0])


def _both(comm: rc.Communicator, nodes: list[str]) -> list[bool]:
    return comm.all_gather(_both_ways(comm, nodes))


def test_uneven_nodes_are_told() -> None:
    """Two levels need as many ranks on each node."""
    assert is_even(["a", "a", "b", "b"])
    assert not is_even(["a", "a", "b"])


def test_model_is_monotone_and_flat_for_few_ranks() -> None:
    """More ranks and more bytes cost more; few ranks exchange flat, and thousands of small parts in two levels."""
    ranks = [2, 4, 42, 84, 420, 1344, 10_752]
    for sent in (0, 1 << 20, 1 << 30):
        flat = [flat_s(DEFAULT, count, sent) for count in ranks]
        assert flat == sorted(flat)
    for count in ranks:
        assert two_level_s(DEFAULT, count, 42, 1 << 20) < two_level_s(DEFAULT, count, 42, 1 << 30)
    assert not any(two_levels_pay(DEFAULT, count, 2, 1 << 20) for count in (2, 4, 8))
    assert not two_levels_pay(DEFAULT, 42, 42, 0)
    assert two_levels_pay(DEFAULT, 10_752, 42, 1 << 20)
