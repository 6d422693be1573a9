"""The process-management side of an MPI world, so that MPI ranks need no mpiexec.

An MPICH-family library (MPICH, Intel MPI, MVAPICH) asks its launcher for rank, size and its peers' addresses
over the descriptor `PMI_FD`, in the line protocol PMI-1 (Balaji et al. 2010, "PMI: a scalable parallel
process-management interface for extreme-scale systems"). Answering it ourselves lets any forked process
become a rank of a world of its own, and keeps exit codes ours.

No I/O here: `PmiWorld.handle` takes a line of one rank and returns the lines to send.
"""

from __future__ import annotations

import secrets

Reply = tuple[int, str]


class PmiWorld:
    """The key-value space and barriers of one MPI_COMM_WORLD whose ranks share a node."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._name = f"kvs_{secrets.token_hex(8)}"
        # One node holding ranks 0..size-1: lets the library use shared memory between them.
        self._values = {"PMI_process_mapping": f"(vector,(0,1,{size}))"}
        self._in_barrier: set[int] = set()

    def environment(self, rank: int) -> dict[str, str]:
        """What the rank must find in its environment before MPI starts, besides PMI_FD."""
        return {
            "PMI_RANK": str(rank),
            "PMI_SIZE": str(self.size),
            "MPI_LOCALNRANKS": str(self.size),
            "MPI_LOCALRANKID": str(rank),
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
                self._values[fields["key"]] = fields["value"]
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
        if len(self._in_barrier) < self.size:
            return []
        self._in_barrier.clear()
        return [(peer, "cmd=barrier_out\n") for peer in range(self.size)]
