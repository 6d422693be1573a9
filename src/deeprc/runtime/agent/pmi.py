"""The process-management side of an MPI world, so that MPI ranks need no mpiexec.

An MPICH-family library (MPICH, Intel MPI, MVAPICH) asks its launcher for rank, size and its peers' addresses
over the descriptor `PMI_FD`, in the line protocol PMI-1 (Balaji et al. 2010, "PMI: a scalable parallel
process-management interface for extreme-scale systems"). Answering it ourselves lets any forked process
become a rank of a world of its own, and keeps exit codes ours.

Ranks of one world may sit on several nodes, each with a server of its own (`worlds.py`).

No I/O here: `PmiWorld.handle` takes a line of one rank and returns the lines to send.
"""

from __future__ import annotations

import secrets

from deeprc.runtime.process.segments import segments_of_world

Reply = tuple[int, str]


class PmiWorld:
    """The key-value space and barriers of one MPI_COMM_WORLD, for those of its ranks that share this node.

    `layout` says how many ranks each node holds, in rank order, and `part` which node this is. In a world that
    spans nodes a barrier of all ranks here sets `fence`, the values they have put since the last; it is to be told
    to the other nodes, and `complete` called with what comes back.
    """

    def __init__(self, layout: tuple[int, ...], part: int = 0, name: str | None = None) -> None:
        first = sum(layout[:part])
        self.size = sum(layout)
        self.ranks = range(first, first + layout[part])
        self.fence: dict[str, str] | None = None
        self._spans_nodes = len(layout) > 1
        self._name = f"kvs_{name or secrets.token_hex(8)}"
        # One block for each node: lets the library use shared memory between its ranks, and only there.
        blocks = "".join(f",({node},1,{ranks})" for node, ranks in enumerate(layout))
        self._values = {"PMI_process_mapping": f"(vector{blocks})"}
        self._put: dict[str, str] = {}
        self._in_barrier: set[int] = set()

    @property
    def segments(self) -> str:
        """What MPICH's ranks call their shared memory in /dev/shm, a pattern."""
        return segments_of_world(self._name)

    def environment(self, rank: int) -> dict[str, str]:
        """What the rank must find in its environment before MPI starts, besides PMI_FD."""
        return {
            "PMI_RANK": str(rank),
            "PMI_SIZE": str(self.size),
            "MPI_LOCALNRANKS": str(len(self.ranks)),
            "MPI_LOCALRANKID": str(rank - self.ranks.start),
        }

    def handle(self, rank: int, line: str) -> list[Reply]:
        """Answer one request of one rank; a barrier is answered to all once the last has come."""
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        command = fields.get("cmd", "")
        if command == "barrier_in":
            return self._barrier(rank)
        return [(rank, f"{reply}\n") for reply in self._answer(command, fields)]

    def _answer(self, command: str, fields: dict[str, str]) -> list[str]:
        match command:
            case "init":
                return ["cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1"]
            case "get_maxes":
                return ["cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=4096"]
            case "get_appnum":
                return ["cmd=appnum appnum=0"]
            case "get_universe_size":
                return [f"cmd=universe_size size={self.size}"]
            case "get_my_kvsname":
                return [f"cmd=my_kvsname kvsname={self._name}"]
            case "put":
                self._values[fields["key"]] = self._put[fields["key"]] = fields["value"]
                return ["cmd=put_result rc=0 msg=success"]
            case "get":
                return [self._get(fields["key"])]
            case "finalize":
                return ["cmd=finalize_ack"]
            case _:
                # An answer to what we do not know would be taken for the answer to the next request.
                return []

    def _get(self, key: str) -> str:
        if key in self._values:
            return f"cmd=get_result rc=0 msg=success value={self._values[key]}"
        return f"cmd=get_result rc=-1 msg=key_{key}_not_found value=unknown"

    def _barrier(self, rank: int) -> list[Reply]:
        self._in_barrier.add(rank)
        if len(self._in_barrier) < len(self.ranks):
            return []
        if not self._spans_nodes:
            return self.complete({})
        self.fence, self._put = self._put, {}
        return []

    def complete(self, values: dict[str, str]) -> list[Reply]:
        """All nodes have come to the barrier, and these are the values that their ranks have put."""
        self.fence = None
        self._values.update(values)
        self._in_barrier.clear()
        return [(peer, "cmd=barrier_out\n") for peer in self.ranks]
