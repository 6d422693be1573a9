"""Whoever reaches a task's ports without its secret is not believed: GLOO and its store ask nobody who he is."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, cast

import numpy as np
import psutil
import pytest

import deeprc as rc
from deeprc.communicator.gloo import TorchCommunicator
from deeprc.errors import CommunicatorError

SECRET = bytes(range(32))


def store_of(port: int = 0, *, serves: bool = False) -> Any:
    from torch.distributed import TCPStore

    return TCPStore("127.0.0.1", port, is_master=serves, wait_for_workers=False, timeout=timedelta(seconds=60))


def test_values_that_a_stranger_has_set_are_not_believed() -> None:
    """Nor moved from one key to another, nor found by their names; what the ranks have set is as in any store."""
    from deeprc.communicator.sealed_store import SealedStore

    served = store_of(serves=True)
    ours, peers = SealedStore(served, SECRET), SealedStore(store_of(served.port), SECRET)
    stranger = store_of(served.port)
    ours.set("address", b"\0\1here")
    ours.set("other", "there")
    assert peers.get("address") == b"\0\1here"
    assert peers.get("other") == b"there"
    assert peers.compare_set("other", "there", "elsewhere") == b"elsewhere" == ours.get("other")
    assert (peers.add("count", 2), ours.add("count", 3)) == (2, 5)
    assert peers.check(["address", "other"])
    assert not peers.check(["absent"])
    peers.wait(["address"], timedelta(seconds=1))
    assert not [key for key in stranger.list_keys() if "address" in key or "other" in key]
    address, other = ours._name("address"), ours._name("other")
    assert stranger.check([address, other])
    for forged in (stranger.get(other), b"", b"there", bytes(32) + b"there"):
        stranger.set(address, forged)
        with pytest.raises(CommunicatorError, match="none of its ranks has set"):
            peers.get("address")
    assert ours.delete_key("other")
    assert not stranger.check([other])


def show_other_secrets(comm: rc.Communicator) -> None:
    cast(TorchCommunicator, comm).prove_peers(bytes([comm.rank]) * 32)


def show_one_secret(comm: rc.Communicator) -> str:
    cast(TorchCommunicator, comm).prove_peers(SECRET)
    return "proved"


def test_a_peer_without_the_secret_is_refused(session: rc.Session) -> None:
    """Before anything that it sends is unpickled."""
    assert session.submit(show_one_secret, ranks=3, comm="gloo").result(timeout=90) == "proved"
    with pytest.raises(rc.DeepRCError, match=r"who answers as rank \d is not of this task"):
        session.submit(show_other_secrets, ranks=3, comm="gloo").result(timeout=90)


def sum_slowly(comm: rc.Communicator, rounds: int) -> float:
    total = 0.0
    for _ in range(rounds):
        total += comm.all_reduce(np.ones(1000))[0]
        time.sleep(0.01)
    return total


def listening_ports() -> list[int]:
    """Ports on which processes that this one has started listen."""
    ports = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            ports += [c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return ports


@contextlib.contextmanager
def strangers() -> Iterator[list[int]]:
    """One that connects to every port of a rank again and again, and says nothing, or nonsense; lists the ports."""
    ended, found = threading.Event(), list[int]()

    def bother(port: int) -> None:
        found.append(port)
        for said in (b"", os.urandom(8), bytes(4096), b"GET / HTTP/1.1\r\n\r\n", b"\x02" + bytes(64)):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as stranger:
                stranger.sendall(said)

    def bother_all() -> None:
        while not ended.is_set():
            for port in listening_ports():
                bother(port)

    with ThreadPoolExecutor(1) as pool:
        bothering = pool.submit(bother_all)
        try:
            yield found
        finally:
            ended.set()
            bothering.result()


def test_strangers_at_a_running_tasks_ports_do_no_harm(session: rc.Session) -> None:
    """The store and GLOO hang up on them, and the task's sums are right."""
    session.submit(sum_slowly, 1, ranks=2, comm="gloo").result(timeout=90)
    with strangers() as found:
        rounds = 0
        while rounds < 3 or not found:
            assert session.submit(sum_slowly, 40, ranks=2, comm="gloo").result(timeout=90) == 80.0
            rounds += 1
            assert rounds < 50, "no stranger has found a port"
