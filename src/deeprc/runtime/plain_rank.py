"""Keeps one rank of an MPI world that the library's own launcher has started.

`python -m deeprc.runtime.plain_rank SOCKET RUN_DIRECTORY SHARED_MEMORY`

The rank is forked from here, as from a zygote: so the agent is told how it ended, whatever the launcher makes of that,
and what it has started ends with it, with the agent, and with the agent's lease.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

from deeprc.runtime.zygote import die_with_parent, forked, serve

# Where MPICH, Open MPI and PMIx launchers tell a process its rank.
_RANK_VARIABLES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")


def main() -> None:
    """Join the agent, then start a rank when asked and keep it until the agent hangs up."""
    die_with_parent(signal.SIGTERM)
    rank = int(next(os.environ[name] for name in _RANK_VARIABLES if name in os.environ))
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    agent.connect(sys.argv[1])
    agent.send(json.dumps({"rank": rank}).encode())
    _, (lease,), _, _ = socket.recv_fds(agent, 16, 1)
    serve(agent, lease, sys.argv[2], forked, clean=lambda: _remove(Path(sys.argv[1]).parent, Path(sys.argv[3])))


def _remove(*folders: Path) -> None:
    """Remove the world's folders: the agent, whose part that is, may have been killed."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
