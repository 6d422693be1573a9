"""Keeps one rank of an MPI world that the library's own launcher has started.

`python -m deeprc.runtime.plain_rank SHARED_FOLDER RUN_DIRECTORY`

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

from deeprc.runtime import shared_folder
from deeprc.runtime.zygote import Ranks, end_with_parent, forked, remove_shared_memory, serve

# Where MPICH, Open MPI and PMIx launchers tell a process its rank.
_RANK_VARIABLES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")


def main() -> None:
    """Join the agent, then start a rank when asked and keep it until the agent hangs up."""
    folder = Path(sys.argv[1])
    ranks: Ranks = {}
    end = end_with_parent(partial(remove_shared_memory, folder, ranks))
    shared_folder.hold(folder)
    rank = int(next(os.environ[name] for name in _RANK_VARIABLES if name in os.environ))
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        agent.connect(str(folder / "agent"))
        agent.send(json.dumps({"rank": rank}).encode())
        _, (lease,), _, _ = socket.recv_fds(agent, 16, 1)
    except (OSError, ValueError):
        # The agent has died, or no longer needs this world.
        end()
    serve(agent, lease, sys.argv[2], forked, ranks, end)


if __name__ == "__main__":
    main()
