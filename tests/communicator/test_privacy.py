"""Two tasks at once never hear each other, whatever their communicators."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import deeprc as rc


def chatter(comm: rc.Communicator, word: str, rounds: int) -> set[str]:
    """Everything heard in many collectives of every sort, started without any barrier between tasks."""
    heard: set[str] = set()
    for turn in range(rounds):
        heard.update(comm.all_gather(word))
        heard.add(comm.broadcast(word, root=turn % comm.size))
        heard.update(bytes(view).decode() for view in comm.all_to_all([word.encode()] * comm.size))
    return heard


def wildcard(comm: rc.Communicator, word: str, rounds: int) -> set[str]:
    """MPI receives from any source with any tag: what would pick up a stranger's message first."""
    from mpi4py import MPI

    heard: set[str] = set()
    for turn in range(rounds):
        request = comm.mpi.isend(word, dest=(comm.rank + 1) % comm.size, tag=turn % 7)
        heard.add(comm.mpi.recv(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG))
        request.wait()
    return heard


@pytest.mark.parametrize("comms", list(itertools.combinations_with_replacement(["mpi", "gloo"], 2)), ids="+".join)
def test_concurrent_tasks_never_hear_each_other(session: rc.Session, comms: tuple[Any, Any]) -> None:
    """Pairs of tasks on every mixture of backends, again and again on warm ranks."""
    for attempt in range(4):
        words = [f"{side}{attempt}" for side in "ab"]
        futures = [
            session.submit(chatter, word, 30, ranks=2, comm=comm) for word, comm in zip(words, comms, strict=True)
        ]
        assert [future.result(timeout=90) for future in futures] == [{word} for word in words]


def test_wildcard_receives_hear_only_their_own_task(session: rc.Session) -> None:
    """Tasks that follow each other on one warm MPI gang have contexts of their own, and so have two at once."""
    futures = [session.submit(wildcard, f"w{number}", 50, ranks=2, comm="mpi") for number in range(8)]
    assert [future.result(timeout=90) for future in futures] == [{f"w{number}"} for number in range(8)]


def leave_unreceived(comm: rc.Communicator) -> None:
    """Send what nobody receives before the task ends."""
    comm.mpi.isend("stray", dest=(comm.rank + 1) % comm.size, tag=3)


def test_a_message_left_behind_is_not_heard_by_the_next_task(session: rc.Session) -> None:
    """The next task on the same warm ranks does not match the stray message."""
    session.submit(leave_unreceived, ranks=2, comm="mpi").result(timeout=60)
    assert session.submit(wildcard, "clean", 20, ranks=2, comm="mpi").result(timeout=60) == {"clean"}
