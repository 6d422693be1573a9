"""Whole messages between driver, agents and ranks: nobody waits for a slow reader, and a stranger is cut off."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from deeprc.runtime.link.channel import Channel, RankChannel
from deeprc.runtime.link.loop import Loop

LONG = 20 << 20


def run_until(loop: Loop, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        loop.later(0.01, loop.stop)
        loop.run()


def test_long_and_short_messages_arrive_whole_and_in_order() -> None:
    """Several in one part of the stream, and one in many parts, between two loops' ends."""
    loop, heard = Loop(), list[bytes]()
    ours, theirs = socket.socketpair()
    sender = Channel(loop, ours, lambda _: None, lambda: None)
    Channel(loop, theirs, lambda frame: heard.append(bytes(frame)), lambda: heard.append(b"end"))
    sent = [b"", b"a", b"b" * 70_000, bytes(LONG), b"c", b"d" * 65_528]
    for message in sent:
        sender.send(message)
    run_until(loop, lambda: len(heard) == len(sent))
    assert heard == sent
    sender.close()
    run_until(loop, lambda: heard[-1] == b"end")


def test_a_reader_that_does_not_read_is_not_waited_for() -> None:
    """What it does not take is kept, and other descriptors are served meanwhile."""
    loop, beats = Loop(), list[int]()
    ours, theirs = socket.socketpair()
    slow = Channel(loop, ours, lambda _: None, lambda: None)
    slow.send(bytes(LONG))
    slow.send(b"after")
    loop.every(0.001, lambda: beats.append(1))
    run_until(loop, lambda: len(beats) > 5)
    received = list[Any]()
    rank = RankChannel(theirs.detach())

    def read() -> None:
        rank._wait_for(8 + LONG + 8 + 5)
        received.append(bytes(rank._unread[-5:]))

    reader = threading.Thread(target=read)
    reader.start()
    run_until(loop, lambda: bool(received))
    reader.join()
    assert received == [b"after"]


def test_a_rank_gets_and_sends_whole_messages() -> None:
    """Two that came together are two; many threads may send; the agent's hanging up is told."""
    loop, heard = Loop(), list[int]()
    ours, theirs = socket.socketpair()
    agent = Channel(loop, ours, lambda frame: heard.append(len(frame)), lambda: None)
    rank = RankChannel(theirs.detach())
    for message in ({"a": 1}, bytes(100_000)):
        agent.send(pickle.dumps(message))
    assert rank.receive() == {"a": 1}
    assert rank.has_more()
    receiving = threading.Thread(target=lambda: heard.append(-len(rank.receive())))
    receiving.start()
    run_until(loop, lambda: heard == [-100_000])
    senders = [threading.Thread(target=rank.send, args=[bytes(300_000 + number)]) for number in range(8)]
    for sender in senders:
        sender.start()
    run_until(loop, lambda: len(heard) == 9)
    assert len({size - number for number, size in enumerate(sorted(heard[1:]))}) == 1
    assert not rank.has_more()
    agent.close()
    assert rank.has_more()
    with pytest.raises(EOFError):
        rank.receive()
    with pytest.raises(BrokenPipeError):
        rank.send(1)


def test_a_message_longer_than_allowed_is_the_end() -> None:
    """Before it has been taken into memory, however long it says that it is."""
    loop, heard = Loop(), list[bytes]()
    ours, theirs = socket.socketpair()
    channel = Channel(
        loop, ours, lambda frame: heard.append(bytes(frame)), lambda: heard.append(b"end"), longest_bytes=100
    )
    theirs.sendall((5).to_bytes(8, "little") + b"hello" + (1 << 62).to_bytes(8, "little") + b"x")
    run_until(loop, lambda: heard == [b"hello", b"end"])
    assert not channel.is_open
    assert theirs.recv(1) == b""
