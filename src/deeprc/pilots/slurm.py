"""Slurm in words: the text of its commands as values, and what is asked of it as command lines. No side effects.

Formats are those of `scontrol`, `squeue`, `sinfo` and `srun` of Slurm 20.11 and later.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from deeprc.errors import ResourceError, SpecError
from deeprc.runtime.pilot import Allocation
from deeprc.runtime.scheduler import Node
from deeprc.spec import SessionSpec

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


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment that does not tell how a job or a step was started."""
    return {
        name: value
        for name, value in environment.items()
        if name in _HARMLESS or not name.startswith(_LAUNCHER_PREFIXES)
    }


# --- a job of our own

# What a session's own fields say, or what following the job depends on.
_OURS = {
    "nodes": "nodes",
    "time": "time",
    "mem": "memory",
    "cpus-per-task": "cores",
    "gres": "gpus",
    "ntasks": "nodes",
    "ntasks-per-node": "nodes",
    "output": "run_dir",
    "chdir": "the directory you are in",
}
_IMPOSSIBLE = ("array", "wrap", "wait", "parsable", "test-only", "hold", "error")


def submission_options(name: str, asked: SessionSpec) -> list[str]:
    """The options of sbatch for a run: one task's place on each node, whole nodes unless cores are asked for.

    Raises:
        SpecError: an option that the session's own fields say, or under which the run could not be followed.
    """
    own = asked.options or {}
    for option in own:
        if option in _OURS:
            raise SpecError(f"options: {option!r} is said by {_OURS[option]!r} of the session, or of the command line")
        if option in _IMPOSSIBLE or not re.fullmatch(r"[a-z][a-z0-9-]+", option):
            raise SpecError(f"options: {option!r} cannot be given: a run is one job, followed by its log and journal")
    options: dict[str, str | int | bool] = {
        "job-name": name,
        "nodes": asked.nodes or 1,
        "ntasks-per-node": 1,
        "open-mode": "append",
        "requeue": True,
        "no-kill": True,
    }
    if asked.time_s is not None:
        options["time"] = walltime(asked.time_s)
    if asked.cores is None:
        options["exclusive"] = True
    else:
        options["cpus-per-task"] = asked.cores
    if asked.memory_bytes is not None:
        options["mem"] = f"{-(-asked.memory_bytes // MIB)}M"
    if asked.gpus:
        options["gres"] = f"gpu:{asked.gpus}"
    return [_option(option, value) for option, value in {**options, **own}.items() if value is not False]


def _option(name: str, value: str | int | bool) -> str:
    return f"--{name}" if value is True else f"--{name}={value}"


def walltime(seconds: float) -> str:
    """ "1-12:00:00": how Slurm writes a duration."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{rest:02}"


def batch_script(command: Iterable[str], environment: Mapping[str, str], submitted_by: Iterable[str]) -> str:
    """The job: `command` takes the shell's place, so that Slurm's signals reach it."""
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
    return f"""\
#!/bin/bash
# Submitted by: {shlex.join(submitted_by)}
{exports}
exec {shlex.join(command)}
"""


def parse_submission(text: str) -> str:
    """The job's id, of `sbatch --parsable`: "12" or "12;cluster".

    Raises:
        ResourceError: there is none.
    """
    identifier = text.strip().splitlines()[-1].partition(";")[0] if text.strip() else ""
    if not identifier.isdigit():
        raise ResourceError(f"sbatch gave no job id, but: {text.strip() or 'nothing'}")
    return identifier


def forgotten(identifier: str) -> Job:
    """A job that ended so long ago that the controller does not know it any more."""
    return Job(identifier, "FORGOTTEN", "None", 0, 0, 0, False, None, ())


def outcome(job: Job) -> tuple[int | None, str]:
    """The exit code of a job's command, None if Slurm ended the job; and how it ended, in words."""
    if job.state == "COMPLETED":
        return 0, "completed"
    if job.state == "FAILED" and job.signal == 0:
        return job.exit_code, f"ended with exit code {job.exit_code}"
    told = {
        "TIMEOUT": "ran into its time limit",
        "CANCELLED": "was cancelled",
        "NODE_FAIL": "lost the node that it was started on",
        "OUT_OF_MEMORY": "was ended for using more memory than it holds",
        "PREEMPTED": "had to give way to another job",
        "BOOT_FAIL": "could not be started",
        "DEADLINE": "could not be started before its deadline",
        "FAILED": f"was ended by signal {job.signal}",
    }
    words = told.get(job.state, "ended")
    reason = "" if job.reason in ("None", "", job.state) else f", reason {job.reason}"
    return None, f"{words} (Slurm: {job.state}{reason})"
