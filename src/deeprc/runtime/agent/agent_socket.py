"""An agent's end of its messages: to its driver, by a Unix socket on the same host, by ZeroMQ from another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import zmq

from deeprc.runtime.link.channel import Channel
from deeprc.runtime.link.local_door import enter, this_host
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.wire import MOST_IN_A_FRAME, Connection, packed_frame, unpacked_frame

Hear = Callable[[list[Any]], None]


class Tell(Protocol):
    """How the driver is told: at once if it is `urgent`, otherwise soon."""

    def __call__(self, message: Any, *, urgent: bool = True) -> None: ...


class AgentSocket:
    """Sends to and receives from one driver. `hear(messages)` is called for what comes.

    `on_end()` is called when a driver of this host has hung up; one on another host is only known by its silence.
    """

    def __init__(
        self,
        loop: Loop,
        run_directory: Path,
        node: str,
        connection: Connection,
        hear: Hear,
        on_end: Callable[[], None],
    ) -> None:
        self._outbox: list[Any] = []
        # Whether something waits that the driver should hear at once.
        self.is_urgent = False
        self._send = _by_unix_socket(loop, run_directory, node, connection, hear, on_end) or _by_zeromq(
            loop, node, connection, hear
        )

    def send(self, message: Any, *, urgent: bool = True) -> None:
        """Have a message go out with the next `flush`, together with others."""
        self._outbox.append(message)
        self.is_urgent = self.is_urgent or urgent
        if len(self._outbox) >= MOST_IN_A_FRAME:
            self.flush()

    def flush(self) -> None:
        """Send what waits, in one frame."""
        if self._outbox:
            self._send(packed_frame(self._outbox))
            self._outbox.clear()
            self.is_urgent = False

    @property
    def is_waiting(self) -> bool:
        return bool(self._outbox)


def _by_unix_socket(
    loop: Loop, run_directory: Path, node: str, connection: Connection, hear: Hear, on_end: Callable[[], None]
) -> Callable[[bytes], None] | None:
    """How to send to a driver of this host; None if it is on another, or its door cannot be reached from here."""
    if connection.host != this_host():
        return None
    try:
        entered = enter(run_directory)
    except OSError:
        return None
    channel = Channel(loop, entered, lambda frame: hear(unpacked_frame(frame)), on_end)
    channel.send(connection.token.encode() + node.encode())
    return channel.send


def _by_zeromq(loop: Loop, node: str, connection: Connection, hear: Hear) -> Callable[[bytes], None]:
    """How to send to a driver anywhere."""
    public, secret = zmq.curve_keypair()
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.curve_publickey = public
    socket.curve_secretkey = secret
    socket.curve_serverkey = connection.server_key.encode()
    socket.identity = node.encode()
    socket.linger = 200
    socket.connect(connection.address)
    token = connection.token.encode()

    def receive() -> None:
        messages: list[Any] = []
        while True:
            try:
                messages += unpacked_frame(socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                break
        if messages:
            hear(messages)

    def send(frame: bytes) -> None:
        socket.send(token + frame)
        # The descriptor tells of changes only, and sending may have taken notice of one.
        loop.later(0, receive)

    loop.watch(int(socket.get(zmq.FD)), receive)
    return send
