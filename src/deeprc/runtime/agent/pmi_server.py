"""The sockets of one MPI world's ranks on this node: what a launcher would hold, held by the agent."""

from __future__ import annotations

import socket
from collections.abc import Callable

from deeprc.runtime.agent.pmi import PmiWorld
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.process.segments import remove_segments

_LAST_RANK_S = 1.0


class PmiServer:
    """Serves PMI-1 to ranks of one MPI_COMM_WORLD.

    `on_fence(values)` is called when all ranks here wait for those of other nodes.
    """

    def __init__(self, loop: Loop, world: PmiWorld, on_fence: Callable[[dict[str, str]], None]) -> None:
        self._loop = loop
        self._world = world
        self._on_fence = on_fence
        self._sockets: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}

    @property
    def spans_nodes(self) -> bool:
        return len(self._world.ranks) < self._world.size

    @property
    def segments(self) -> str:
        return self._world.segments

    def connect(self, rank: int) -> tuple[socket.socket, dict[str, str]]:
        """The rank's end of its socket, to be passed on and closed, and its environment (less PMI_FD)."""
        ours, theirs = socket.socketpair()
        self._sockets[rank] = ours
        self._partial[rank] = b""
        self._loop.watch(ours.fileno(), lambda: self._answer(rank))
        return theirs, self._world.environment(rank)

    def complete_fence(self, values: dict[str, str]) -> None:
        """Let the ranks here go on, with what those of all nodes have put."""
        for peer, reply in self._world.complete(values):
            self._send(peer, reply)

    def close(self) -> None:
        """Hang up on the ranks, which have been ended, and remove what they may have left in shared memory."""
        for ours in self._sockets.values():
            self._loop.unwatch(ours.fileno())
            ours.close()
        self._sockets.clear()
        self._remove_segments()
        # Again for a rank that was still being forked, and is ended when its process is known.
        self._loop.later(_LAST_RANK_S, self._remove_segments)

    def _remove_segments(self) -> None:
        """A rank that dies in MPI_Init leaves a segment that no living process has open: only its name leads to it."""
        remove_segments(self.segments)

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
            if self._world.fence is not None:
                fence, self._world.fence = self._world.fence, None
                self._on_fence(fence)

    def _send(self, peer: int, reply: str) -> None:
        try:
            self._sockets[peer].sendall(reply.encode())
        except (OSError, KeyError):
            # The peer died in MPI_Init; its gang is being ended for that.
            return
