"""Whole messages over a stream socket: for a loop, which waits for no reader and no long message, and for a rank.

A message is its length in eight bytes, and itself.
"""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from deeprc.runtime.link.loop import Loop

_LENGTH = struct.Struct("<Q")
_PART_BYTES = 1 << 16


class Channel:
    """One end, served by a loop. `on_frame(frame)` is called for each message, `on_end()` once the other has hung up.

    A frame is only to be looked at while `on_frame` runs. What the socket does not take at once is kept, and goes out
    as the reader takes it.
    """

    def __init__(
        self,
        loop: Loop,
        ours: socket.socket,
        on_frame: Callable[[memoryview], None],
        on_end: Callable[[], None],
        *,
        longest_bytes: int | None = None,
    ) -> None:
        ours.setblocking(False)
        self._loop = loop
        self._socket = ours
        self._on_frame, self._on_end = on_frame, on_end
        # A longer message is taken for the end: nobody that has not shown who he is may fill our memory.
        self.longest_bytes = longest_bytes
        self._part = memoryview(bytearray(_PART_BYTES))
        self._unfinished = bytearray()
        self._wanted_bytes = _LENGTH.size
        self._unsent: deque[bytes | memoryview] = deque()
        self.is_open = True
        loop.watch(ours.fileno(), self._hear)

    def send(self, frame: bytes) -> None:
        """Send a message; nothing happens if the other end has hung up."""
        if not self.is_open:
            return
        is_first = not self._unsent
        self._unsent.extend(_framed(frame))
        if is_first:
            self._write()

    def drain(self) -> None:
        """Hear what has come, now."""
        while self._read():
            continue

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()

    def _write(self) -> None:
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent[0])
                if sent < len(self._unsent[0]):
                    self._unsent[0] = memoryview(self._unsent[0])[sent:]
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            self._loop.when_writable(self._socket.fileno(), self._write)
        except OSError:
            # It has hung up: reading tells, after what it had still to say.
            self._unsent.clear()

    def _hear(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Take in one part: between those of a long message others are heard. False if there was none."""
        if not self.is_open:
            return False
        try:
            received = self._socket.recv_into(self._part)
        except BlockingIOError:
            return False
        except ConnectionError:
            received = 0
        if not received or not self._take_in(self._part[:received]):
            self.close()
            self._on_end()
        return received > 0

    def _take_in(self, part: memoryview) -> bool:
        """Hand out the messages that are whole; False if one is too long."""
        if self._unfinished:
            self._unfinished += part
            if len(self._unfinished) < self._wanted_bytes:
                return True
            # Another takes its place: what is handed out must keep its size.
            part, self._unfinished = memoryview(self._unfinished), bytearray()
        self._wanted_bytes = _LENGTH.size
        while self.is_open and len(part) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(part)[0]
            if self.longest_bytes is not None and end > self.longest_bytes:
                return False
            if len(part) < end:
                self._wanted_bytes = end
                break
            self._on_frame(part[_LENGTH.size : end])
            part = part[end:]
        if part:
            self._unfinished += part
        return True


class RankChannel:
    """A rank's end, which waits; any thread may send."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(True)
        self._unread = bytearray()
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        """Send a message, pickled.

        Raises:
            BrokenPipeError: the agent has hung up.
        """
        with self._sending:
            for part in _framed(pickle.dumps(message, pickle.HIGHEST_PROTOCOL)):
                self._socket.sendall(part)

    def receive(self) -> Any:
        """The next message, as soon as it has come.

        Raises:
            EOFError: the agent has hung up.
        """
        self._wait_for(_LENGTH.size)
        end = _LENGTH.size + _LENGTH.unpack_from(self._unread)[0]
        self._wait_for(end)
        with memoryview(self._unread) as view, view[_LENGTH.size : end] as frame:
            message = pickle.loads(frame)
        del self._unread[:end]
        return message

    def has_more(self) -> bool:
        """Whether a message has come, or the agent has hung up."""
        try:
            part = self._socket.recv(_PART_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return bool(self._unread)
        self._unread += part
        return True

    def _wait_for(self, size: int) -> None:
        while len(self._unread) < size:
            part = self._socket.recv(_PART_BYTES)
            if not part:
                raise EOFError
            self._unread += part


def _framed(frame: bytes) -> tuple[bytes, ...]:
    """A message as it is sent; one that is not small is not copied for it."""
    head = _LENGTH.pack(len(frame))
    return (head + frame,) if len(frame) < _PART_BYTES else (head, frame)
