"""What srun starts on each node: puts the agent in its own place, told which node it is and nothing of srun.

`python -m deeprc.pilots.slurm_agent RUN_DIRECTORY NODE=CORES...`, standard input being the driver's lifeline.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

from deeprc.pilots.slurm import ranks_command, without_launcher
from deeprc.runtime.plain_world import mpiexec


def main() -> None:
    run_directory, *sizes = sys.argv[1:]
    node = os.environ["SLURMD_NODENAME"]
    cores = dict(size.split("=") for size in sizes)[node]
    log = os.open(Path(run_directory) / "logs" / f"agent-{node}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # A script may ask for it without "B:", that is for every process of the job; its run tells the agents.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    agent = [sys.executable, "-m", "deeprc.runtime.agent", run_directory, node, cores]
    environment = without_launcher(os.environ)
    mpi = environment.get("DEEPRC_SLURM_MPI")
    if mpi or mpiexec() is None:
        # For MPI libraries that do not take the agent's word for their world.
        by_srun = shlex.join(ranks_command(os.environ["SLURM_JOB_ID"], node, mpi))
        environment.setdefault("DEEPRC_MPI_LAUNCHER", by_srun)
    os.execve(sys.executable, agent, environment)


if __name__ == "__main__":
    main()
