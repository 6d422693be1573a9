"""Small tasks in great number: sent ahead in batches, and still each exactly once, in order, and cancellable."""

from __future__ import annotations

import gc
import itertools
import os
import time
import tracemalloc
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, as_completed, wait
from pathlib import Path
from typing import Any

import deeprc as rc
from deeprc.journal import read_run
from deeprc.runtime.driver.ahead import Ahead
from deeprc.runtime.driver.future import Future
from deeprc.runtime.link.messages import PickledFunction
from deeprc.runtime.link.told import Told
from deeprc.runtime.session.prepared import Preparations
from deeprc.spec.task import Resources
from tests.runtime import faults

FACTOR = 2
_MOST_BYTES = 2048


def note(directory: str, number: int) -> int:
    """Leave a line for each time that this has run."""
    with (Path(directory) / f"{os.getpid()}").open("a") as file:
        file.write(f"{number}\n")
    return number


def note_after(directory: str, number: int, gate: str | None = None) -> int:
    """Leave a line once there is a file, if one is named."""
    while gate is not None and not Path(gate).exists():
        time.sleep(0.02)
    return note(directory, number)


def lines(directory: Path) -> Counter[int]:
    return Counter(int(line) for file in directory.iterdir() for line in file.read_text().split())


def test_each_of_many_tasks_runs_once_and_its_result_is_its_own(session: rc.Session, tmp_path: Path) -> None:
    """A burst goes ahead to the node in batches: nothing is lost, doubled or mixed up."""
    directory = tmp_path / "notes"
    directory.mkdir()
    session.submit(note, str(directory), -1).result(timeout=60)
    futures = [session.submit(note, str(directory), number) for number in range(600)]
    assert [future.result(timeout=60) for future in futures] == list(range(600))
    assert lines(directory) == Counter(range(-1, 600))
    events = read_run(session.run_directory).events
    for kind in ("task.submitted", "task.started", "task.finished"):
        assert len({event["task"] for event in events if event["kind"] == kind}) == 601


def test_a_slot_never_holds_two_tasks_at_once(session: rc.Session) -> None:
    """A core is passed on when its task has ended: the journal's times of one slot do not overlap."""
    session.submit(abs, 1).result(timeout=60)
    for future in [session.submit(abs, number) for number in range(400)]:
        future.result(timeout=60)
    run = read_run(session.run_directory)
    ended = {event["task"]: event["time"] for event in run.of_kind("task.finished")}
    spans: dict[int, list[tuple[float, float]]] = {}
    for event in run.of_kind("task.started"):
        spans.setdefault(event["ranks"][0]["slot"], []).append((event["time"], ended[event["task"]]))
    assert set(spans) <= set(range(4))
    for slot in spans.values():
        slot.sort()
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(slot))


def test_no_task_waits_behind_a_long_one_while_a_core_is_free(session: rc.Session, tmp_path: Path) -> None:
    """A function that was always quick turns slow on all cores but one: the rest of the burst runs on that one."""
    directory = tmp_path / "notes"
    directory.mkdir()
    for future in [session.submit(note_after, str(directory), -1) for _ in range(40)]:
        future.result(timeout=60)
    slow = [session.submit(note_after, str(directory), -2, str(tmp_path / "never")) for _ in range(3)]
    quick = [session.submit(note_after, str(directory), number) for number in range(100)]
    assert [future.result(timeout=60) for future in quick] == list(range(100))
    for future in slow:
        session.cancel(future)


def test_what_was_sent_ahead_can_be_cancelled(session: rc.Session, tmp_path: Path) -> None:
    """Cancelled before its turn a task never runs; the others of the burst do."""
    directory = tmp_path / "notes"
    directory.mkdir()
    for future in [session.submit(note_after, str(directory), -1) for _ in range(40)]:
        future.result(timeout=60)
    gate = tmp_path / "gate"
    hold = [session.submit(note_after, str(directory), -2, str(gate)) for _ in range(4)]
    burst = [session.submit(note_after, str(directory), number) for number in range(60)]
    for future in burst[::2]:
        session.cancel(future)
    for future in burst[::2]:
        assert "cancelled" in str(future.exception(timeout=60))
    gate.touch()
    for future in burst[1::2]:
        future.result(timeout=60)
    assert [future.result(timeout=60) for future in hold] == [-2] * 4
    assert set(lines(directory)) - {-1, -2} == set(range(1, 60, 2))
    assert session.submit(abs, -5).result(timeout=60) == 5


def test_a_rank_that_dies_in_a_burst_costs_its_task_alone(session: rc.Session, tmp_path: Path) -> None:
    """With a retry it succeeds, and what had been sent ahead runs once."""
    directory = tmp_path / "notes"
    directory.mkdir()
    for future in [session.submit(note, str(directory), -1) for _ in range(40)]:
        future.result(timeout=60)
    before = [session.submit(note, str(directory), number) for number in range(50)]
    dying = session.submit(faults.die_once, str(tmp_path / "marker"), retries=1)
    after = [session.submit(note, str(directory), number) for number in range(50, 100)]
    assert dying.result(timeout=60) == "survived"
    assert [future.result(timeout=60) for future in before + after] == list(range(100))
    assert lines(directory) == Counter({-1: 40, **dict.fromkeys(range(100), 1)})


def test_a_waiting_task_takes_two_kibibytes_at_most(session: rc.Session, tmp_path: Path) -> None:
    """Future, task and graph together, of tasks that depend on each other; measured in the session's process."""
    gate = tmp_path / "gate"

    def wait_for(file: str) -> int:
        while not Path(file).exists():
            time.sleep(0.02)
        return 0

    first = session.submit(wait_for, str(gate))
    layer = [session.submit(faults.successor, first) for _ in range(50)]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(100):
        layer = [session.submit(faults.successor, need) for need in layer]
    settled = session.submit(abs, 1)
    settled.result(timeout=60)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    gate.touch()
    assert taken / 5000 <= _MOST_BYTES
    assert {future.result(timeout=90) for future in layer} == {101}


def test_a_function_is_sent_once_over_a_channel() -> None:
    """Later tasks carry its hash; both ends forget together, so neither grows."""
    sender, receiver = Told(), Told()
    for number in [0, 0, *range(1000), 0, 999]:
        whole = PickledFunction(number.to_bytes(2, "big"), bytes(100) + number.to_bytes(2, "big"), reusable=True)
        sent = sender.shortened(whole)
        assert receiver.completed(sent).payload == whole.payload
    again = sender.shortened(whole)
    assert again.payload is None
    nameless = PickledFunction(None, b"x", reusable=False)
    assert receiver.completed(sender.shortened(nameless)) is nameless


def test_a_function_is_pickled_again_when_what_it_refers_to_has_changed() -> None:
    """Its copy on the ranks has the values of the time of its submission."""
    global FACTOR
    offset = 1

    def scaled(value: int) -> int:
        return value * FACTOR + offset

    known, payloads = Preparations(), []
    for FACTOR, offset in ((2, 1), (2, 1), (3, 1), (3, 2)):  # noqa: B007
        pickled, _ = known.of(scaled, (1,), {}, Resources()).function(scaled)
        payloads.append(pickled.payload)
    assert payloads[0] == payloads[1]
    assert len(set(payloads)) == 3


def test_a_list_that_a_function_refers_to_is_read_at_each_submission(session: rc.Session) -> None:
    """It may have changed without anybody having assigned it."""
    values: list[int] = []

    def total() -> int:
        return sum(values)

    results = []
    for number in range(3):
        values.append(number)
        results.append(session.submit(total).result(timeout=60))
    assert results == [0, 1, 3]


def test_what_a_copied_function_leaves_in_its_globals_is_not_seen_by_the_next_task(session: rc.Session) -> None:
    """A warm rank keeps functions, not their state."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("count = 0\ndef counted():\n    global count\n    count += 1\n    return count\n", namespace)
    assert [session.submit(namespace["counted"]).result(timeout=60) for _ in range(3)] == [1, 1, 1]


def test_futures_without_waiters_work_with_the_standard_library() -> None:
    """`wait`, `as_completed` and callbacks find what they need, before and after the end."""
    done, pending = Future("a", lambda _: None), Future("b", lambda _: None)
    done.set_result(1)
    assert wait([done, pending], timeout=1, return_when=FIRST_COMPLETED).done == {done}
    seen: list[Any] = []
    pending.add_done_callback(lambda future: seen.append(future.result()))
    pending.set_result(2)
    done.add_done_callback(lambda future: seen.append(future.result()))
    assert seen == [2, 1]
    assert {future.result() for future in as_completed([done, pending], timeout=1)} == {1, 2}


def test_only_short_tasks_are_sent_ahead() -> None:
    """How many follows from how long they take; one long task is enough to stop it."""
    ahead = Ahead({"a": 2})
    assert not ahead.is_short("unknown")
    ahead.took("quick", 0.0002)
    assert ahead.room("a", "quick") > 50
    ahead.took("steady", 0.005)
    assert 0 < ahead.room("a", "steady") <= 2 * 6
    ahead.took("quick", 5.0)
    assert not ahead.is_short("quick")
