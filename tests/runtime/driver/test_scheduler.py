"""Gangs get all their ranks or none; what takes longest goes first; nothing starves."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprc.errors import ResourceError
from deeprc.runtime.driver.graph import Graph
from deeprc.runtime.driver.scheduler import Demand, Placement, Scheduler, Seat
from deeprc.runtime.pilot import Node


def cores_of(placement: Placement) -> list[int]:
    return [core for seat in placement.seats for core in seat.cores]


def test_a_gang_gets_all_its_ranks_or_none() -> None:
    """Three ranks wait while two cores are free, and smaller tasks fill them."""
    scheduler = Scheduler([Node("a", cores=4)])
    scheduler.add("two", Demand(2))
    assert [cores_of(placement) for placement in scheduler.place()] == [[0, 1]]
    scheduler.add("three", Demand(3), path_s=9.0)
    scheduler.add("one", Demand(1), path_s=1.0)
    assert [placement.task for placement in scheduler.place()] == ["one"]
    scheduler.release("two")
    assert [cores_of(placement) for placement in scheduler.place()] == [[0, 1, 3]]


def test_threads_take_cores_and_gpus_go_to_ranks() -> None:
    """Cores and GPUs are dealt out rank by rank."""
    scheduler = Scheduler([Node("a", cores=4, gpus=4)])
    scheduler.add("t", Demand(2, threads=2, gpus=2))
    [placement] = scheduler.place()
    assert placement.seats == (Seat("a", (0, 1), (0, 1)), Seat("a", (2, 3), (2, 3)))


def test_a_large_task_is_not_put_off_for_ever() -> None:
    """Small tasks keep arriving; after `patience` of them the node is held for the large one."""
    scheduler = Scheduler([Node("a", cores=2)], patience=5)
    scheduler.add("small-0", Demand(1))
    scheduler.place()
    scheduler.add("large", Demand(2), path_s=1.0)
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
        scheduler.add(f"{number}", Demand(1), path_s=float(number % 3))
    scheduler.drop("2")
    order = []
    while placed := scheduler.place():
        order += [int(placement.task) for placement in placed]
        scheduler.release(placed[0].task)
    assert order == sorted(
        (number for number in range(3000) if number != 2), key=lambda number: (-(number % 3), number)
    )


def test_priority_outranks_the_longest_path() -> None:
    """Whatever lies behind a task, and negative ones go last."""
    scheduler = Scheduler([Node("a", cores=1)])
    scheduler.add("long", Demand(1), path_s=100.0)
    scheduler.add("urgent", Demand(1), priority=2)
    scheduler.add("idle", Demand(1), path_s=1000.0, priority=-1)
    assert drained(scheduler) == ["urgent", "long", "idle"]


def test_waiting_counts_against_longer_paths() -> None:
    """Tasks with longer paths that keep arriving cannot overtake for ever: a minute is worth a second."""
    scheduler = Scheduler([Node("a", cores=1)])
    scheduler.add("old", Demand(1), path_s=1.0, arrived_s=0.0)
    scheduler.add("soon", Demand(1), path_s=10.0, arrived_s=60.0)
    scheduler.add("late", Demand(1), path_s=10.0, arrived_s=600.0)
    assert drained(scheduler) == ["soon", "old", "late"]


def drained(scheduler: Scheduler) -> list[str]:
    """The order in which tasks are placed, each released before the next."""
    order = []
    while placed := scheduler.place():
        order += [placement.task for placement in placed]
        for placement in placed:
            scheduler.release(placement.task)
    return order


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(2, 8),
    st.lists(st.tuples(st.integers(1, 3), st.floats(0, 5)), min_size=8, max_size=8),
    st.randoms(),
)
def test_backfill_never_delays_a_large_task_for_ever(
    nodes: list[int], ranks: int, small: list[tuple[int, float]], random: Random
) -> None:
    """On a full machine, with small tasks of any path arriving faster than they end, the large one gets its turn."""
    scheduler = Scheduler([Node(f"n{number}", cores) for number, cores in enumerate(nodes)], patience=4)
    large = Demand(min(ranks, sum(nodes)))
    running: list[str] = []
    for step in range(1000):
        for number in range(2):
            size, path_s = small[(step + number) % len(small)]
            if size <= sum(nodes):
                scheduler.add(f"{step}.{number}", Demand(size), path_s, arrived_s=step * 10.0)
        if step == 20:
            scheduler.add("large", large, arrived_s=step * 10.0)
        placed = [placement.task for placement in scheduler.place()]
        if "large" in placed:
            return
        running += placed
        if running:
            scheduler.release(running.pop(random.randrange(len(running))))
    pytest.fail("the large task never ran")


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        (Demand(3), "largest node of this session has 2"),
        (Demand(1, gpus=2), "largest node of this session has 1"),
        (Demand(2, memory_bytes=600), "has 1000 bytes. Use at most 1 ranks"),
    ],
)
def test_what_never_fits_is_refused(demand: Demand, message: str) -> None:
    """At once, with what there is."""
    with pytest.raises(ResourceError, match=message):
        Scheduler([Node("a", cores=2, gpus=1, memory_bytes=1000)]).check(demand)


def test_a_gang_goes_on_one_node_where_it_fits() -> None:
    """On as few as hold it otherwise; its ranks follow each other on a node."""
    scheduler = Scheduler([Node("a", cores=2), Node("b", cores=4), Node("c", cores=3)])
    scheduler.add("four", Demand(4), path_s=3.0)
    scheduler.add("five", Demand(5), path_s=2.0)
    four, five = scheduler.place()
    assert list(four.by_node()) == ["b"]
    assert [seat.node for seat in five.seats] == ["c", "c", "c", "a", "a"]


def test_a_rank_is_never_split() -> None:
    """Three ranks of two threads do not fit on three cores a node twice."""
    scheduler = Scheduler([Node("a", cores=3), Node("b", cores=3)])
    with pytest.raises(ResourceError, match=r"2 nodes of this session have 6\. Use at most 2 ranks"):
        scheduler.check(Demand(3, threads=2))
    scheduler.add("two", Demand(2, threads=2))
    assert [seat.cores for seat in scheduler.place()[0].seats] == [(0, 1), (0, 1)]


def test_nothing_is_placed_on_a_node_that_is_not_open_or_is_lost() -> None:
    """A gang that needs all nodes waits for the last; what is lost can never be given again."""
    scheduler = Scheduler([Node("a", cores=1), Node("b", cores=1)], all_open=False)
    scheduler.add("both", Demand(2))
    scheduler.open("b")
    assert scheduler.place() == []
    scheduler.open("a")
    assert len(scheduler.place()) == 1
    scheduler.remove("a")
    scheduler.release("both")
    with pytest.raises(ResourceError, match="has 1"):
        scheduler.check(Demand(2))
    scheduler.add("one", Demand(1))
    scheduler.add("two", Demand(1))
    assert [placement.seats[0].node for placement in scheduler.place()] == ["b"]


def test_a_large_task_holds_as_many_nodes_as_it_needs() -> None:
    """And no more: small tasks still run on the others."""
    nodes = [Node(name, cores=2) for name in "abc"]
    scheduler = Scheduler(nodes, patience=0)
    for number in range(6):
        scheduler.add(f"first-{number}", Demand(1))
    first = {placement.task: placement.seats[0].node for placement in scheduler.place()}
    scheduler.add("large", Demand(4), path_s=9.0)
    running = list(first)
    placed_on: list[str] = []
    for number in range(12):
        scheduler.release(running.pop(0))
        scheduler.add(f"small-{number}", Demand(1))
        for placement in scheduler.place():
            running.append(placement.task)
            if placement.task == "large":
                assert len(placement.by_node()) == 2
                assert set(placed_on).isdisjoint(placement.by_node())
                return
            placed_on.append(placement.seats[0].node)
    pytest.fail("the large task never ran")


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 2)), min_size=1, max_size=40), st.randoms())
def test_cores_are_never_shared_and_everything_runs(sizes: list[tuple[int, int]], random: Random) -> None:
    """Whatever comes in whatever order, placed tasks hold disjoint cores and all get their turn."""
    scheduler = Scheduler([Node("a", cores=8), Node("b", cores=5)])
    demands = {str(number): Demand(ranks, threads) for number, (ranks, threads) in enumerate(sizes)}
    for task, demand in demands.items():
        scheduler.add(task, demand, random.random())
    running: dict[str, Placement] = {}
    finished = 0
    while finished < len(sizes):
        for placement in scheduler.place():
            demand = demands[placement.task]
            assert len(placement.seats) == demand.ranks
            assert all(len(seat.cores) == demand.threads for seat in placement.seats)
            running[placement.task] = placement
        held = [(seat.node, core) for placement in running.values() for seat in placement.seats for core in seat.cores]
        assert len(set(held)) == len(held)
        assert all(core < {"a": 8, "b": 5}[node] for node, core in held)
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
