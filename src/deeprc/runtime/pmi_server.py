"""The sockets of one MPI world: what a launcher would hold, held by the agent."""

from __future__ import annotations

import socket

from deeprc.runtime.loop import Loop
from deeprc.runtime.pmi import PmiWorld


class PmiServer:
    """Serves PMI-1 to the ranks of one MPI_COMM_WORLD."""

    def __init__(self, loop: Loop, size: int) -> None:
        self._loop = loop
        self._world = PmiWorld(size)
        self._sockets: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}

    def connect(self, rank: int) -> tuple[socket.socket, dict[str, str]]:
        """The rank's end of its socket, to be passed on and closed, and its environment (less PMI_FD)."""
        ours, theirs = socket.socketpair()
        self._sockets[rank] = ours
        self._partial[rank] = b""
        self._loop.watch(ours.fileno(), lambda: self._answer(rank))
        return theirs, self._world.environment(rank)

    def close(self) -> None:
        for ours in self._sockets.values():
            self._loop.unwatch(ours.fileno())
            ours.close()
        self._sockets.clear()

    def _answer(self, rank: int) -> None:
        ours = self._sockets[rank]
        try:
            received = ours.recv(65536)
        except ConnectionResetError:
            received = b""
        if not received:
            self._loop.unwatch(ours.fileno())
            return
        *lines, self._partial[rank] = (self._partial[rank] + received).split(b"\n")
        for line in lines:
            for peer, reply in self._world.handle(rank, line.decode()):
                self._send(peer, reply)

    def _send(self, peer: int, reply: str) -> None:
        try:
            self._sockets[peer].sendall(reply.encode())
        except OSError:
            # The peer died in MPI_Init; its gang is being ended for that.
            return
