"""Keeps one rank of an MPI world that the library's own launcher has started.

`python -m deeprc.runtime.rank.plain_rank RUN_DIRECTORY RANKS:FOLDER...`, in rank order for each node how many ranks it
holds and the world's folder there, in which its agent listens.

The rank is forked from here, as from a zygote: so the agent is told how it ended, whatever the launcher makes of that,
and what it has started ends with it, with the agent, and with the agent's lease.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import partial
from pathlib import Path

from deeprc.runtime.process import shared_folder
from deeprc.runtime.process.segments import remove_segments, segments_of_world
from deeprc.runtime.rank.zygote import Ranks, end_with_parent, forked, remove_shared_memory, serve

# Where launchers of MPICH, Open MPI and PMIx tell a process its rank; and srun, also if it serves no MPI.
_RANK_VARIABLES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")


def main() -> None:
    """Join the agent of this node, then start a rank when asked and keep it until the agent hangs up."""
    run_directory, *parts = sys.argv[1:]
    rank = int(next(os.environ[name] for name in _RANK_VARIABLES if name in os.environ))
    folder = _folder_of(rank, parts)
    ranks: Ranks = {}
    end = end_with_parent(partial(_remove_shared_memory, folder, ranks))
    shared_folder.hold(folder)
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        agent.connect(str(folder / "agent"))
        agent.send(json.dumps({"rank": rank}).encode())
        _, (lease,), _, _ = socket.recv_fds(agent, 16, 1)
    except (OSError, ValueError):
        # It has died, or no longer needs this world; or the launcher has put the rank elsewhere.
        shared_folder.remove(folder)
        sys.exit(f"rank {rank} of an MPI world, on {os.uname().nodename}, finds no agent in {folder}")
    serve(agent, lease, run_directory, forked, ranks, end)


def _remove_shared_memory(folder: Path, ranks: Ranks) -> None:
    remove_shared_memory(folder, ranks)
    # The name that Slurm's PMI gives a world. Of a rank that was killed in MPI_Init only that leads to its segment.
    if name := os.environ.get("PMI_JOBID"):
        remove_segments(segments_of_world(name))


def _folder_of(rank: int, parts: list[str]) -> Path:
    """The world's folder on a rank's node."""
    for part in parts:
        ranks, _, folder = part.partition(":")
        rank -= int(ranks)
        if rank < 0:
            return Path(folder)
    sys.exit("the launcher has started more ranks than it was told")


if __name__ == "__main__":
    main()
