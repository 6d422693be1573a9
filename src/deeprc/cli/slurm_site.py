"""What `deeprc doctor` sees of Slurm, on a login node or inside a job."""

from __future__ import annotations

import time
from collections.abc import Iterator

from deeprc.cli.machine import GIB, Finding, Probe

_SHOWN = 8


def slurm_findings(probe: Probe) -> Iterator[Finding]:
    """The version; then the job that this process is in, or the partitions that one can be submitted to."""
    tool = probe.which("sbatch")
    if not tool:
        remedy = "use a login node of a Slurm cluster, or: apt-get install slurm-client"
        yield Finding("sites", "Slurm", "missing", "no sbatch", remedy)
        return
    job = probe.environment.get("SLURM_JOB_ID")
    version = probe.output([tool, "--version"]) or tool
    yield Finding("sites", "Slurm", "ok", version + (f", inside job {job}" if job else ", not inside a job"))
    yield _job(probe, job) if job else _partitions(probe)


def _job(probe: Probe, identifier: str) -> Finding:
    from deeprc.errors import ResourceError
    from deeprc.pilots.slurm import parse_job
    from deeprc.pilots.slurm_submission import walltime

    try:
        job = parse_job(probe.output(["scontrol", "show", "job", "--details", identifier]))
    except ResourceError:
        remedy = f"scontrol show job {identifier}: is the job still there, does the controller answer?"
        return Finding("sites", "Slurm job", "warning", "Slurm does not describe it", remedy)
    if not job.nodes:
        return Finding("sites", "Slurm job", "warning", f"{job.state}, holds no node", "unset SLURM_JOB_ID")
    told = [
        f"{node.name}: {node.cores} cores, {node.gpus} GPUs"
        + (f", {node.memory_bytes / GIB:.1f} GiB" if node.memory_bytes else "")
        for node in job.nodes[:_SHOWN]
    ]
    more = [f"and {len(job.nodes) - _SHOWN} more nodes"] if len(job.nodes) > _SHOWN else []
    left = [f"{walltime(max(job.end_time - time.time(), 0))} left"] if job.end_time else []
    return Finding("sites", "Slurm job", "ok", "; ".join([*told, *more, *left]))


def _partitions(probe: Probe) -> Finding:
    lines = probe.output(["sinfo", "--noheader", "--format=%P %a %D %l"]).splitlines()
    partitions = [line.split() for line in lines if len(line.split()) == 4]
    if not partitions:
        remedy = "sinfo: does Slurm's controller answer, is SLURM_CONF right?"
        return Finding("sites", "Slurm partitions", "warning", "sinfo lists none", remedy)
    told = [f"{name} ({state}, {nodes} nodes, at most {limit})" for name, state, nodes, limit in partitions[:_SHOWN]]
    more = [f"and {len(partitions) - _SHOWN} more"] if len(partitions) > _SHOWN else []
    return Finding("sites", "Slurm partitions", "ok", "; ".join([*told, *more]))
