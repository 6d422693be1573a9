"""The driver's end of its messages: a Unix socket for the agents of its own host, ZeroMQ for all others."""

from __future__ import annotations

import hmac
import secrets
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from deeprc.runtime.link.channel import Channel
from deeprc.runtime.link.local_door import open_door, remove_door, this_host
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.messages import RunGang
from deeprc.runtime.link.told import Told
from deeprc.runtime.link.wire import MOST_IN_A_FRAME, Connection, packed_frame, unpacked_frame, write_connection

# Token and node: all that one who has not shown the token may say.
_LONGEST_HELLO_BYTES = 1024

Hear = Callable[[list[tuple[str, Any]]], None]


class DriverSocket:
    """Receives from and sends to agents by node name."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], host: str, run_directory: Path) -> None:
        public, secret = zmq.curve_keypair()
        self._socket = context.socket(zmq.ROUTER)
        self._socket.curve_server = True
        self._socket.curve_secretkey = secret
        self._socket.curve_publickey = public
        self._socket.linger = 0
        port = self._socket.bind_to_random_port(f"tcp://{host}")
        self._run_directory = run_directory
        self._door = open_door(run_directory)
        self._channels: dict[str, Channel] = {}
        self._outbox: dict[str, list[Any]] = {}
        self._told: dict[str, Told] = defaultdict(Told)
        token = secrets.token_hex(32)
        self._token = token.encode()
        here = this_host() if self._door is not None else ""
        write_connection(run_directory, Connection(f"tcp://{host}:{port}", public.decode(), token, here))

    def serve(self, loop: Loop, hear: Hear) -> None:
        """Call `hear(messages)` for what agents send, each with the name of its node."""
        self._loop, self._hear = loop, hear
        loop.watch(int(self._socket.get(zmq.FD)), self._receive)
        if self._door is not None:
            loop.watch(self._door.fileno(), self._welcome)

    def close(self) -> None:
        self._socket.close()
        for channel in list(self._channels.values()):
            channel.close()
        if self._door is not None:
            self._door.close()
            remove_door(self._run_directory)

    def send(self, node: str, message: Any) -> None:
        """Have a message go out with the next `flush`, together with others for its node."""
        waiting = self._outbox.setdefault(node, [])
        if type(message) is RunGang:
            message = message._replace(function=self._told[node].shortened(message.function))
        waiting.append(message)
        if len(waiting) >= MOST_IN_A_FRAME:
            self.flush()

    def flush(self) -> None:
        """Send what waits: one frame for each node."""
        for node, messages in self._outbox.items():
            frame = packed_frame(messages)
            channel = self._channels.get(node)
            if channel is not None:
                channel.send(frame)
            else:
                self._socket.send_multipart([node.encode(), frame])
                # Its descriptor tells of changes only, and sending may have taken notice of one.
                self._loop.later(0, self._receive)
        self._outbox.clear()

    def _receive(self) -> None:
        """Hear all that has come over ZeroMQ; what does not carry this session's token is dropped unread."""
        messages: list[tuple[str, Any]] = []
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            if len(frames) == 2 and self._shows_token(frames[1]):
                node = frames[0].decode()
                messages += [(node, message) for message in unpacked_frame(frames[1][len(self._token) :])]
        if messages:
            self._hear(messages)

    def _welcome(self) -> None:
        """Take an agent of this host: the first that it says has to be the token and the name of its node."""
        assert self._door is not None
        try:
            entered, _ = self._door.accept()
        except OSError:
            return
        node = ""

        def on_frame(frame: memoryview) -> None:
            nonlocal node
            if node:
                self._hear([(node, message) for message in unpacked_frame(frame)])
                return
            hello = bytes(frame)
            node = hello[len(self._token) :].decode(errors="replace")
            if not self._shows_token(hello) or not node or node in self._channels:
                node = ""
                channel.close()
                return
            channel.longest_bytes = None
            self._channels[node] = channel

        channel = Channel(
            self._loop, entered, on_frame, lambda: self._forget(node, channel), longest_bytes=_LONGEST_HELLO_BYTES
        )

    def _forget(self, node: str, channel: Channel) -> None:
        if self._channels.get(node) is channel:
            del self._channels[node]

    def _shows_token(self, frame: bytes) -> bool:
        return hmac.compare_digest(frame[: len(self._token)], self._token)
