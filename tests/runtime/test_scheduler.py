"""Gangs get all their ranks or none; what takes longest goes first; nothing starves."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprc.errors import ResourceError
from deeprc.runtime.graph import Graph
from deeprc.runtime.scheduler import Demand, Node, Scheduler


def test_a_gang_gets_all_its_ranks_or_none() -> None:
    """Three ranks wait while two cores are free, and smaller tasks fill them."""
    scheduler = Scheduler([Node("a", cores=4)])
    scheduler.add("two", Demand(2))
    assert [placement.slots for placement in scheduler.place()] == [(0, 1)]
    scheduler.add("three", Demand(3), priority=9.0)
    scheduler.add("one", Demand(1), priority=1.0)
    assert [placement.task for placement in scheduler.place()] == ["one"]
    scheduler.release("two")
    assert [placement.slots for placement in scheduler.place()] == [(0, 1, 3)]


def test_threads_take_cores_and_gpus_go_to_ranks() -> None:
    """A rank's slot is the first of its cores; GPUs are dealt out rank by rank."""
    scheduler = Scheduler([Node("a", cores=4, gpus=4)])
    scheduler.add("t", Demand(2, threads=2, gpus=2))
    [placement] = scheduler.place()
    assert placement.slots == (0, 2)
    assert placement.gpus == ((0, 1), (2, 3))


def test_a_large_task_is_not_put_off_for_ever() -> None:
    """Small tasks keep arriving; after `patience` of them the node is held for the large one."""
    scheduler = Scheduler([Node("a", cores=2)], patience=5)
    scheduler.add("small-0", Demand(1))
    scheduler.place()
    scheduler.add("large", Demand(2), priority=1.0)
    running, order = ["small-0"], []
    for number in range(1, 30):
        scheduler.add(f"small-{number}", Demand(1))
        placed = [placement.task for placement in scheduler.place()]
        order += placed
        running += placed
        if "large" in placed:
            break
        scheduler.release(running.pop(0))
    assert "large" in order
    assert len(order) <= 8


def test_thousands_of_ready_tasks_go_by_priority_and_then_in_order() -> None:
    """The queue is drained one core at a time; dropped tasks are passed by."""
    scheduler = Scheduler([Node("a", cores=1)])
    for number in range(3000):
        scheduler.add(f"{number}", Demand(1), priority=float(number % 3))
    scheduler.drop("2")
    order = []
    while placed := scheduler.place():
        order += [int(placement.task) for placement in placed]
        scheduler.release(placed[0].task)
    assert order == sorted(
        (number for number in range(3000) if number != 2), key=lambda number: (-(number % 3), number)
    )


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        (Demand(3), "largest node of this session has 2"),
        (Demand(1, gpus=2), "a node of this session has 1"),
        (Demand(2, memory_bytes=600), "more than the 1000 bytes"),
    ],
)
def test_what_never_fits_is_refused(demand: Demand, message: str) -> None:
    """At once, with what there is."""
    with pytest.raises(ResourceError, match=message):
        Scheduler([Node("a", cores=2, gpus=1, memory_bytes=1000)]).check(demand)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 2)), min_size=1, max_size=40), st.randoms())
def test_cores_are_never_shared_and_everything_runs(sizes: list[tuple[int, int]], random: Random) -> None:
    """Whatever comes in whatever order, placed tasks hold disjoint cores and all get their turn."""
    scheduler = Scheduler([Node("a", cores=8), Node("b", cores=5)])
    demands = {str(number): Demand(ranks, threads) for number, (ranks, threads) in enumerate(sizes)}
    for task, demand in demands.items():
        scheduler.add(task, demand, random.random())
    running: dict[str, str] = {}
    finished = 0
    while finished < len(sizes):
        for placement in scheduler.place():
            running[placement.task] = placement.node
            assert len(set(placement.slots)) == demands[placement.task].ranks
        for node, cores in {"a": 8, "b": 5}.items():
            assert sum(demands[task].cores for task, where in running.items() if where == node) <= cores
        assert running, "tasks wait and nothing runs"
        task = random.choice(sorted(running))
        del running[task]
        scheduler.release(task)
        finished += 1


def test_the_longest_path_comes_first() -> None:
    """A short task with much behind it outranks a longer one with nothing behind it."""
    graph = Graph()
    graph.add("short", [], 1.0)
    graph.add("alone", [], 5.0)
    graph.add("behind", ["short"], 3.0)
    graph.add("last", ["behind"], 4.0)
    assert graph.rank_upward == {"short": 8.0, "alone": 5.0, "behind": 7.0, "last": 4.0}


def test_tasks_become_ready_when_the_last_of_their_needs_is_done() -> None:
    """And not before."""
    graph = Graph()
    assert graph.add("a", [], 1)
    assert graph.add("b", [], 1)
    assert not graph.add("c", ["a", "b"], 1)
    assert graph.finish("a") == []
    assert graph.finish("b") == ["c"]


def test_failure_reaches_all_that_needs_it_once() -> None:
    """Diamonds are cancelled once; what does not need the failed task stays."""
    graph = Graph()
    for task, needs in {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}.items():
        graph.add(task, needs, 1)
    assert sorted(dependent for dependent, _ in graph.fail("a")) == ["b", "c", "d"]
    assert list(graph.rank_upward) == ["e"]
