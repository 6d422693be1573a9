"""A rank that an MPI library's own launcher has started: `python -m deeprc.runtime.plain_rank SOCKET RUN_DIRECTORY`."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from deeprc.runtime.channel import RankChannel
from deeprc.runtime.lease import left_s
from deeprc.runtime.liveness import HEARTBEAT_S
from deeprc.runtime.rank import serve
from deeprc.runtime.zygote import die_with_parent

# Where MPICH, Open MPI and PMIx launchers tell a process its rank.
_RANK_VARIABLES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")


def main() -> None:
    """Get channel and log from the agent, then serve until it hangs up."""
    die_with_parent()
    rank = int(next(os.environ[name] for name in _RANK_VARIABLES if name in os.environ))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as agent:
        agent.connect(sys.argv[1])
        agent.send(json.dumps({"rank": rank, "pid": os.getpid()}).encode())
        _, (channel, log, lease), _, _ = socket.recv_fds(agent, 16, 3)
    threading.Thread(target=_end_with, args=(lease,), daemon=True).start()
    os.dup2(log, 1)
    os.dup2(log, 2)
    serve(RankChannel(channel), Path(sys.argv[2]))
    # MPI's exit handler would wait for peers that may be dead.
    os._exit(0)


def _end_with(lease: int) -> None:
    """End this rank and what it has started when the agent's lease is over: no zygote watches over it."""
    left = left_s(lease)
    while left() > 0:
        time.sleep(min(left(), HEARTBEAT_S))
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
