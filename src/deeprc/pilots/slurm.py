"""Slurm in words: the text of its commands as values, and what is asked of it as command lines. No side effects.

Formats are those of `scontrol`, `squeue`, `sinfo` and `srun` of Slurm 20.11 and later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from deeprc.errors import ResourceError
from deeprc.runtime.pilot import Allocation, Node

MIB = 1024**2
# Of the variables that Slurm sets for a job's processes, those that tell libraries nothing wrong. The others say how
# srun started the agents: MPI and Lightning would take that for the way to start ranks.
_HARMLESS = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTER_NAME", "SLURM_TMPDIR"}
_LAUNCHER_PREFIXES = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "PMI_", "PMIX_")
# States of a node whose work is lost. Not the mark "*", a node that does not answer just now: agents say better
# whether they live.
_LOST_STATES = ("down", "fail", "error", "unknown", "powered_down", "powering_down", "reboot")


@dataclass(frozen=True)
class Job:
    """A job as `scontrol show job --details` tells it. Times are seconds since the epoch, None where unknown."""

    id: str
    state: str
    reason: str
    exit_code: int
    signal: int
    restarts: int
    can_requeue: bool
    end_time: float | None
    nodes: tuple[Node, ...]

    @property
    def ended(self) -> bool:
        """Neither waits nor runs, and will not again."""
        return self.state not in (
            "PENDING",
            "CONFIGURING",
            "RUNNING",
            "COMPLETING",
            "SUSPENDED",
            "REQUEUED",
            "REQUEUE_HOLD",
            "RESIZING",
            "STAGE_OUT",
            "SIGNALING",
            "STOPPED",
        )


@dataclass(frozen=True)
class Host:
    """Where a node is: the machine's own name and the address by which Slurm reaches it."""

    hostname: str
    address: str
    memory_bytes: int


# --- from Slurm


def parse_job(text: str) -> Job:
    """The job of `scontrol show job --details ID`.

    Raises:
        ResourceError: the text describes no job.
    """
    fields = _fields(text)
    if "JobId" not in fields:
        raise ResourceError(f"Slurm describes no job: {text.strip() or 'it says nothing'}")
    code, _, signal = fields.get("ExitCode", "0:0").partition(":")
    return Job(
        id=fields["JobId"],
        state=fields.get("JobState", "UNKNOWN"),
        reason=fields.get("Reason", "None"),
        exit_code=int(code),
        signal=int(signal or 0),
        restarts=int(fields.get("Restarts", "0")),
        can_requeue=fields.get("Requeue", "0") == "1",
        end_time=_time(fields.get("EndTime", "")),
        nodes=tuple(_allocated_nodes(text)),
    )


def _fields(text: str) -> dict[str, str]:
    return dict(re.findall(r"([\w/:-]+)=(\S*)", text))


def _time(text: str) -> float | None:
    """Slurm tells local time without a zone."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _allocated_nodes(text: str) -> Iterable[Node]:
    """Nodes with what the job holds of each; Slurm groups those that are alike in one line."""
    for match in re.finditer(r"^\s+Nodes=(\S+) CPU_IDs=(\S+) Mem=(\d+)(?: GRES=(\S*))?", text, re.MULTILINE):
        names, cpus, memory_mib, gres = match.groups()
        for name in expand_hosts(names):
            yield Node(name, count_ids(cpus), count_gpus(gres or ""), int(memory_mib) * MIB)


def parse_hosts(text: str) -> dict[str, Host]:
    """The machines behind the nodes, of `scontrol show node --oneliner NODES`."""
    hosts = {}
    for line in text.splitlines():
        fields = _fields(line)
        if name := fields.get("NodeName"):
            memory = int(fields.get("RealMemory", "0")) * MIB
            hosts[name] = Host(fields.get("NodeHostName", name), fields.get("NodeAddr", name), memory)
    return hosts


def expand_hosts(text: str) -> list[str]:
    """Names of a host list: "node[1-3,07],login" is node1, node2, node3, node07, login."""
    names: list[str] = []
    for item in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        expanded = [""]
        for literal, ranges in re.findall(r"([^\[]+)|\[([^\]]*)\]", item):
            endings = [literal] if literal else _numbers(ranges)
            expanded = [f"{start}{ending}" for start in expanded for ending in endings]
        names += expanded
    return names


def _numbers(ranges: str) -> list[str]:
    """ "1-3,07" as "1", "2", "3", "07": zeros in front are part of a name."""
    numbers: list[str] = []
    for part in ranges.split(","):
        first, dash, last = part.partition("-")
        numbers += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)] if dash else [first]
    return numbers


def count_ids(text: str) -> int:
    """How many ids "0-3,8" names."""
    return len(_numbers(text))


def count_gpus(gres: str) -> int:
    """GPUs in "gpu:a100:2(IDX:0-1),gpu:1(IDX:2),nic:1"."""
    plain = re.sub(r"\([^)]*\)", "", gres)
    return sum(int(match) for match in re.findall(r"(?:^|,)gpu(?::[^:,]+)?:(\d+)", plain))


def lost_states(text: str) -> dict[str, str]:
    """Nodes that Slurm has given up, of `sinfo --Node --format="%N %T"`."""
    lost = {}
    for line in text.splitlines():
        name, _, state = line.strip().partition(" ")
        if state.startswith(_LOST_STATES):
            lost[name] = f"Slurm calls it {state.rstrip('*')}"
    return lost


def lost_tasks(srun_output: str) -> dict[str, str]:
    """Nodes whose agent has ended, of what srun says: "srun: error: node[2-3]: tasks 1-2: Killed"."""
    lost: dict[str, str] = {}
    for names, end in re.findall(r"^srun: error: ([\w\[\],.-]+): tasks? [\d,-]+: (.+)$", srun_output, re.MULTILINE):
        lost |= dict.fromkeys(expand_hosts(names), f"its agent ended: {end}{_signal_name(end)}")
    for names in re.findall(r"^srun: error: Node failure on ([\w\[\],.-]+)", srun_output, re.MULTILINE):
        lost |= dict.fromkeys(expand_hosts(names.rstrip(".")), "Slurm reports its failure")
    return lost


def _signal_name(end: str) -> str:
    """srun tells signals as the C library does; the names users look up are others."""
    names = {"Killed": "SIGKILL", "Terminated": "SIGTERM", "Segmentation fault": "SIGSEGV", "Aborted": "SIGABRT"}
    return next((f" ({name})" for word, name in names.items() if end.startswith(word)), "")


def step_of(text: str, name: str) -> str | None:
    """The step of that name, of `squeue --steps --format="%i %j"`."""
    for line in text.splitlines():
        step, _, own = line.strip().partition(" ")
        if own == name:
            return step
    return None


# --- to Slurm


def nodes_for(job: Job, hosts: Mapping[str, Host], asked: Allocation) -> list[Node]:
    """The job's nodes as this session uses them; `cores` may be more than a node has, so that ranks share cores.

    Raises:
        ResourceError: more nodes, GPUs or memory than the job holds.
    """
    count = asked.nodes or len(job.nodes)
    if count > len(job.nodes):
        raise ResourceError(
            f"job {job.id} holds {len(job.nodes)} nodes, not {count}; use nodes={len(job.nodes)} or less, or ask Slurm "
            f"for more: --nodes={count}"
        )
    nodes = []
    for node in job.nodes[:count]:
        memory = node.memory_bytes or (hosts[node.name].memory_bytes if node.name in hosts else 0)
        if (asked.gpus or 0) > node.gpus:
            raise ResourceError(
                f"job {job.id} holds {node.gpus} GPUs on {node.name}, not {asked.gpus}; use gpus={node.gpus} or less, "
                f"or ask Slurm for more: --gres=gpu:{asked.gpus}"
            )
        if (asked.memory_bytes or 0) > memory > 0:
            raise ResourceError(
                f"job {job.id} holds {memory} bytes of memory on {node.name}, not {asked.memory_bytes}; ask Slurm for "
                f"more: --mem={-(-(asked.memory_bytes or 0) // MIB)}M"
            )
        gpus = node.gpus if asked.gpus is None else asked.gpus
        nodes.append(Node(node.name, asked.cores or node.cores, gpus, asked.memory_bytes or memory))
    return nodes


def step_command(job: str, nodes: Iterable[Node], step: str, agent: Iterable[str]) -> list[str]:
    """The srun that starts one agent on each node, and lives as long as they do.

    One agent's end leaves the others alone. The step shares what the job holds (--overlap), so that it starts also
    inside another step; agents place ranks on cores themselves.
    """
    names = [node.name for node in nodes]
    return [
        "srun",
        f"--jobid={job}",
        f"--job-name={step}",
        f"--nodes={len(names)}",
        f"--ntasks={len(names)}",
        "--ntasks-per-node=1",
        f"--nodelist={','.join(names)}",
        "--overlap",
        "--mem=0",
        "--cpu-bind=none",
        "--mpi=none",
        "--export=ALL",
        "--no-kill",
        "--kill-on-bad-exit=0",
        "--wait=0",
        "--input=all",
        *agent,
    ]


def ranks_command(job: str, order: Sequence[str], cores: int, hosts: Sequence[str], mpi: str | None) -> list[str]:
    """The srun that starts a rank of an MPI world on each of `hosts`, those of a node side by side.

    `order` is Slurm's of the job's nodes, each of which has `cores` or more. `mpi` is Slurm's plugin that serves the
    ranks (`srun --mpi=list`); None leaves it to the site.
    """
    return [
        "srun",
        f"--jobid={job}",
        f"--nodes={len(set(hosts))}",
        f"--ntasks={len(hosts)}",
        "--job-name=mpi-ranks",
        *_distribution(order, cores, hosts),
        # Beside the agents' step, on cores that the agents have chosen.
        "--overlap",
        "--overcommit",
        "--cpu-bind=none",
        "--mem=0",
        "--input=none",
        # What holds a rank ends in good order whatever the rank does; otherwise it could not start.
        "--kill-on-bad-exit=1",
        *([f"--mpi={mpi}"] if mpi else []),
    ]


def _distribution(order: Sequence[str], cores: int, hosts: Sequence[str]) -> list[str]:
    """Which rank goes where, in blocks if they can be so.

    They are all of one size, the last may be smaller, on nodes in Slurm's order; with a smaller last one Slurm goes
    astray unless ranks have cores. All else is "arbitrary", where its PMI-2 tells MPI nothing of who shares a node.
    """
    nodes = list(dict.fromkeys(hosts))
    size = hosts.count(nodes[0])
    in_order = nodes == [node for node in order if node in nodes]
    if in_order and list(hosts) == [node for node in nodes for _ in range(size)]:
        return [f"--nodelist={','.join(nodes)}", "--distribution=block", f"--ntasks-per-node={size}"]
    blocks = [nodes[rank // size] for rank in range(len(hosts)) if rank // size < len(nodes)]
    if in_order and size <= cores and list(hosts) == blocks:
        return [f"--nodelist={','.join(nodes)}", f"--distribution=plane={size}"]
    return [f"--nodelist={','.join(hosts)}", "--distribution=arbitrary"]


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment that does not tell how a job or a step was started."""
    return {
        name: value
        for name, value in environment.items()
        if name in _HARMLESS or not name.startswith(_LAUNCHER_PREFIXES)
    }
