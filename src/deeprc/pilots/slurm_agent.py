"""What srun starts on each node: puts the agent in its own place, told which node it is and nothing of srun.

`python -m deeprc.pilots.slurm_agent RUN_DIRECTORY NODE=CORES...`, standard input being the driver's lifeline.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

from deeprc.pilots.slurm import without_launcher
from deeprc.runtime.agent.launcher import mpiexec


def main() -> None:
    run_directory, *sizes = sys.argv[1:]
    node = os.environ["SLURMD_NODENAME"]
    cores = dict(size.split("=") for size in sizes)
    log = os.open(Path(run_directory) / "logs" / f"agent-{node}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # A script may ask for it without "B:", that is for every process of the job; its run tells the agents.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    agent = [sys.executable, "-m", "deeprc.runtime.agent", run_directory, node, cores[node]]
    environment = without_launcher(os.environ)
    mpi = environment.get("DEEPRC_SLURM_MPI")
    if mpi:
        environment.setdefault("DEEPRC_MPI_START", "plain")
    # For MPI libraries that do not take the agents' word for their world.
    job = [os.environ["SLURM_JOB_ID"], os.environ["SLURM_JOB_NODELIST"], os.environ.get("SLURM_CPUS_ON_NODE", "1")]
    by_srun = shlex.join([sys.executable, "-m", "deeprc.pilots.srun", *job, mpi or "", "{hosts}"])
    environment.setdefault("DEEPRC_MPI_LAUNCHER_ACROSS", by_srun)
    if mpi or mpiexec() is None:
        environment.setdefault("DEEPRC_MPI_LAUNCHER", by_srun)
    os.execve(sys.executable, agent, environment)


if __name__ == "__main__":
    main()
