"""Starts the ranks of an MPI world by srun, each on the node that the scheduler has chosen: a job's launcher.

`python -m deeprc.pilots.srun JOB NODES CORES MPI HOSTS COMMAND...`: the job's list of nodes, how many cores each has at
least, Slurm's MPI plugin (or nothing), and each rank's node.
"""

from __future__ import annotations

import os
import sys

from deeprc.pilots.slurm import expand_hosts, ranks_command


def main() -> None:
    job, nodes, cores, mpi, hosts, *command = sys.argv[1:]
    srun = ranks_command(job, expand_hosts(nodes), int(cores), hosts.split(","), mpi or None)
    os.execvp(srun[0], [*srun, *command])


if __name__ == "__main__":
    main()
