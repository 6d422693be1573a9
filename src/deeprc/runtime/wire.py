"""Authenticated messages between the driver and its agents: ZeroMQ with CURVE, keys made for each session.

Encryption and the server's identity come from CURVE; that the other side is one of our agents comes from the
session's token, compared before anything is unpickled. Keys and token travel in one file that only the user
can read, in a run directory that only the user can enter.
"""

from __future__ import annotations

import hmac
import json
import os
import pickle
import secrets
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zmq

from deeprc.runtime.messages import GangFinished, GangStarted, RankPlace, RunGang
from deeprc.runtime.told import Told

_CONNECTION_FILE = ".connection.json"
# Results of up to 1 MiB travel in messages: so no frame is of more than 64 MiB or so.
_MOST_IN_A_FRAME = 64


@dataclass(frozen=True)
class Connection:
    """What an agent needs to reach its driver."""

    address: str
    server_key: str
    token: str


class DriverSocket:
    """The driver's end: receives from and sends to agents by node name."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], host: str, run_directory: Path) -> None:
        public, secret = zmq.curve_keypair()
        self.socket = context.socket(zmq.ROUTER)
        self.socket.curve_server = True
        self.socket.curve_secretkey = secret
        self.socket.curve_publickey = public
        self.socket.linger = 0
        port = self.socket.bind_to_random_port(f"tcp://{host}")
        self._outbox: dict[str, list[Any]] = {}
        self._told: dict[str, Told] = defaultdict(Told)
        self._token = secrets.token_hex(32)
        _write_private(
            run_directory / _CONNECTION_FILE, Connection(f"tcp://{host}:{port}", public.decode(), self._token)
        )

    def send(self, node: str, message: Any) -> None:
        """Have a message go out with the next `flush`, together with others for its node."""
        waiting = self._outbox.setdefault(node, [])
        if type(message) is RunGang:
            message = message._replace(function=self._told[node].shortened(message.function))
        waiting.append(message)
        if len(waiting) >= _MOST_IN_A_FRAME:
            self.flush()

    def flush(self) -> None:
        """Send what waits: one frame for each node."""
        for node, messages in self._outbox.items():
            self.socket.send_multipart([node.encode(), packed_frame(messages)])
        self._outbox.clear()

    def receive(self) -> list[tuple[str, Any]]:
        """All messages that are there; what carries another token than this session's is dropped unread."""
        messages: list[tuple[str, Any]] = []
        token = self._token.encode()
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return messages
            if len(frames) == 2 and hmac.compare_digest(frames[1][: len(token)], token):
                node = frames[0].decode()
                messages += [(node, message) for message in unpacked_frame(frames[1][len(token) :])]


class AgentSocket:
    """An agent's end: one driver."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], node: str, connection: Connection) -> None:
        public, secret = zmq.curve_keypair()
        self.socket = context.socket(zmq.DEALER)
        self.socket.curve_publickey = public
        self.socket.curve_secretkey = secret
        self.socket.curve_serverkey = connection.server_key.encode()
        self.socket.identity = node.encode()
        self.socket.linger = 200
        self.socket.connect(connection.address)
        self._token = connection.token.encode()
        self._outbox: list[Any] = []
        # Whether something waits that the driver should hear at once.
        self.is_urgent = False

    def send(self, message: Any, *, urgent: bool = True) -> None:
        """Have a message go out with the next `flush`, together with others."""
        self._outbox.append(message)
        self.is_urgent = self.is_urgent or urgent
        if len(self._outbox) >= _MOST_IN_A_FRAME:
            self.flush()

    def flush(self) -> None:
        """Send what waits, in one frame."""
        if self._outbox:
            self.socket.send(self._token + packed_frame(self._outbox))
            self._outbox.clear()
            self.is_urgent = False

    @property
    def is_waiting(self) -> bool:
        return bool(self._outbox)

    def receive(self) -> list[Any]:
        messages: list[Any] = []
        while True:
            try:
                messages += unpacked_frame(self.socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                return messages


# Pickle asks a named tuple for its parts in Python; a plain tuple it writes by itself.
_TUPLES: tuple[Any, ...] = (RunGang, GangStarted, GangFinished)
_CODES = {kind: code for code, kind in enumerate(_TUPLES)}


def packed_frame(messages: list[Any]) -> bytes:
    """Messages as one pickle, in which what they have in common is written once."""
    return pickle.dumps([_plain(message) for message in messages], pickle.HIGHEST_PROTOCOL)


def unpacked_frame(frame: bytes) -> list[Any]:
    return [_restored(*entry) for entry in pickle.loads(frame)]


def _plain(message: Any) -> tuple[int | None, Any]:
    code = _CODES.get(type(message))
    if type(message) is GangStarted:
        return code, (message.task, message.attempt, tuple(map(tuple, message.ranks)), message.time)
    return (None, message) if code is None else (code, tuple(message))


def _restored(code: int | None, content: Any) -> Any:
    if code is None:
        return content
    if _TUPLES[code] is GangStarted:
        task, attempt, ranks, time = content
        return GangStarted(task, attempt, tuple(map(RankPlace._make, ranks)), time)
    return _TUPLES[code]._make(content)


def read_connection(run_directory: Path) -> Connection:
    """Read the file that the driver left for its agents."""
    return Connection(**json.loads((run_directory / _CONNECTION_FILE).read_text()))


def forget_connection(run_directory: Path) -> None:
    """Remove the session's keys once no agent needs them."""
    (run_directory / _CONNECTION_FILE).unlink(missing_ok=True)


def _write_private(path: Path, connection: Connection) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(connection), file)
