"""RADICAL-Pilot in words: what is asked of it as descriptions, and what it says as values. No side effects.

Keys and states are those of RADICAL-Pilot 1.103 (`radical.pilot.PilotDescription`, `TaskDescription`, `states`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deeprc.errors import ResourceError, SpecError, valid_values
from deeprc.runtime.pilot import Allocation, Node

Event = Mapping[str, Any]
DEFAULT_RESOURCE = "local.localhost"
# How RADICAL-Pilot's loggers begin a line: a time.
_LOG_ENTRY = re.compile(r"\d+(\.\d+)? : ")
_FINAL = ("DONE", "FAILED", "CANCELED")
# RADICAL-Pilot's own default of 10 minutes would end a run in the middle; this machine has no queue that minds.
_LOCAL_RUNTIME_MIN = 30 * 24 * 60
_BATCH_RUNTIME_MIN = 60


@dataclass(frozen=True)
class Site:
    """Where RADICAL-Pilot gets its nodes; the names are those of its `PilotDescription`."""

    resource: str = DEFAULT_RESOURCE
    access_schema: str | None = None
    queue: str | None = None
    project: str | None = None
    runtime_min: int | None = None

    @property
    def is_this_machine(self) -> bool:
        """RADICAL-Pilot's site `local` is the machine it runs on; several nodes of it are all this machine."""
        return self.resource.partition(".")[0] == "local"


@dataclass(frozen=True)
class Machine:
    """What RADICAL-Pilot's configuration of a resource says of a node; 0 is "found out when the job runs"."""

    cores_per_node: int
    blocked_cores: int = 0
    threads_per_core: int = 1

    @property
    def cores(self) -> int:
        """Cores that a task may have on one node."""
        return self.cores_per_node * self.threads_per_core - self.blocked_cores


def machine_of(config: Mapping[str, Any]) -> Machine:
    """A node by the resource configuration's own words (`Session.get_resource_config`)."""
    architecture = config.get("system_architecture") or {}
    return Machine(
        cores_per_node=int(config.get("cores_per_node") or 0),
        blocked_cores=len(architecture.get("blocked_cores") or ()),
        threads_per_core=int(architecture.get("smt") or 1),
    )


_BATCH_OPTIONS = {"queue": "queue", "partition": "queue", "project": "project", "account": "project", "qos": "qos"}


def batch_options(time_s: float | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a `RadicalPilot` from a session's time limit and options, by Slurm's names or by RADICAL-Pilot's.

    Raises:
        SpecError: an option that RADICAL-Pilot has no word for, or a quality of service without a partition.
    """
    asked: dict[str, Any] = {} if time_s is None else {"runtime_min": max(1, math.ceil(time_s / 60))}
    for name, value in options.items():
        if name not in _BATCH_OPTIONS:
            raise SpecError(
                f"the pilot 'radical' has no option {name!r}. {valid_values(name, _BATCH_OPTIONS, noun='option')}"
            )
        asked[_BATCH_OPTIONS[name]] = str(value)
    if qos := asked.pop("qos", None):
        if "queue" not in asked:
            raise SpecError("the pilot 'radical' takes a quality of service with a partition only: give both")
        # PSI/J, which submits for RADICAL-Pilot, takes both in one word.
        asked["queue"] += f":{qos}"
    return asked


def pilot_description(site: Site, nodes: int, name: str, sandbox: str) -> dict[str, Any]:
    """The pilot: whole nodes, its sandbox in the run's directory; its end must not end the interpreter it runs in."""
    runtime = site.runtime_min or (_LOCAL_RUNTIME_MIN if site.is_this_machine else _BATCH_RUNTIME_MIN)
    asked = {
        "resource": site.resource,
        "access_schema": site.access_schema,
        "queue": site.queue,
        "project": site.project,
        "runtime": runtime,
        "nodes": nodes,
        "job_name": name,
        "sandbox": sandbox,
        "exit_on_error": False,
    }
    return {key: value for key, value in asked.items() if value is not None}


def agent_descriptions(machine: Machine, nodes: int, command: Sequence[str], logs: str) -> list[dict[str, Any]]:
    """One task for each node, as large as a node: so no node gets two.

    Raises:
        ResourceError: RADICAL-Pilot's configuration does not say how large a node is.
    """
    if machine.cores < 1:
        raise ResourceError(
            "RADICAL-Pilot's configuration of this resource has no `cores_per_node`, so it cannot be asked for whole "
            "nodes; add it in ~/.radical/pilot/configs/"
        )
    executable, *arguments = command
    return [
        {
            "executable": executable,
            "arguments": [*arguments, str(index)],
            "ranks": 1,
            "cores_per_rank": machine.cores,
            "stdout": f"{logs}/agent-{index}.log",
            "stderr": f"{logs}/agent-{index}.log",
        }
        for index in range(nodes)
    ]


@dataclass(frozen=True)
class Seen:
    """What RADICAL-Pilot has said so far."""

    pilot: str | None = None
    state: str = "not started"
    sandbox: str | None = None
    error: str | None = None
    # The ends of agents, as RADICAL-Pilot's tasks: by number, in words.
    ended: Mapping[int, str] = field(default_factory=dict)

    @property
    def over(self) -> str | None:
        """Why there will be no nodes, or none any more."""
        if self.error is not None:
            return f"RADICAL-Pilot failed: {self.error}"
        if self.state in _FINAL:
            return f"RADICAL-Pilot's {self.pilot} is {self.state}"
        return None


def after(seen: Seen, event: Event) -> Seen:
    """What is known once an event has been heard."""
    match event:
        case {"pilot": str(pilot), "state": str(state), **more}:
            # States are told by several threads of RADICAL-Pilot; nothing follows a final one.
            state = seen.state if seen.state in _FINAL else state
            return replace(seen, pilot=pilot, state=state, sandbox=more.get("sandbox") or seen.sandbox)
        case {"agent": int(index), "state": str(state), **more} if state in _FINAL:
            return replace(seen, ended={**seen.ended, index: _end_of_task(state, more.get("exit_code"))})
        case {"error": str(error)}:
            return replace(seen, error=seen.error or error)
    return seen


def _end_of_task(state: str, exit_code: int | None) -> str:
    # A shell stands between RADICAL-Pilot and the agent: it says 128 + N where signal N ended it.
    if exit_code is not None and exit_code > 128:
        import signal

        try:
            return f"its agent was killed by {signal.Signals(exit_code - 128).name}"
        except ValueError:
            pass
    told = "" if exit_code is None else f" with exit code {exit_code}"
    return f"its agent ended{told} (RADICAL-Pilot: {state})"


def lost_nodes(seen: Seen, names: Mapping[int, str]) -> dict[str, str]:
    """Names of nodes that are gone, with why; `names` are those of the agents, by number."""
    if seen.over is not None:
        return {name: seen.ended.get(index) or seen.over for index, name in names.items()}
    return {names[index]: why for index, why in seen.ended.items() if index in names}


@dataclass(frozen=True)
class Announcement:
    """What an agent has found on its node, before it starts."""

    index: int
    node: str
    host: str
    pid: int
    cores: int
    gpus: int
    memory_bytes: int
    error: str | None = None


def nodes_for(allocation: Allocation, found: Sequence[Announcement]) -> list[Node]:
    """The nodes as the user asked for them; `cores` may be more than there are, which lets ranks share cores.

    Raises:
        ResourceError: a node has less GPUs or memory than asked, or cannot be used.
    """
    nodes = []
    for node in sorted(found, key=lambda announcement: announcement.index):
        if node.error is not None:
            raise ResourceError(f"node {node.node}: {node.error}")
        if (allocation.gpus or 0) > node.gpus:
            raise ResourceError(f"node {node.node} has {node.gpus} GPUs, not {allocation.gpus}; ask for fewer")
        if (allocation.memory_bytes or 0) > node.memory_bytes:
            raise ResourceError(
                f"node {node.node} has {node.memory_bytes} bytes of memory, not {allocation.memory_bytes}"
            )
        nodes.append(
            Node(
                node.node,
                cores=node.cores,
                gpus=node.gpus if allocation.gpus is None else allocation.gpus,
                memory_bytes=allocation.memory_bytes or node.memory_bytes,
            )
        )
    return nodes


def telling_lines(files: Mapping[str, str], limit: int = 12) -> list[str]:
    """From RADICAL-Pilot's files (name to text), the lines that tell what went wrong, newest file last.

    It writes the end of a component to that component's `.err`, its errors to `.log`, each with the traceback that led
    to it; batch system libraries write debug lines to both.
    """
    lines = []
    for name, text in files.items():
        told = [line.rstrip() for line in text.splitlines() if line.strip()]
        if name.endswith(".log"):
            told = _errors(told)
        else:
            told = [line for line in told if not line.startswith(("DEBUG:", "INFO:"))]
        lines += [f"{name}: {line}" for line in told[-3:]]
    return lines[-limit:]


def _errors(lines: Sequence[str]) -> list[str]:
    """The errors of a log, each followed by the last line of its traceback, if it has one."""
    found: list[str] = []
    entry: list[str] = []
    for line in [*lines, "0.0 : end"]:
        if not _LOG_ENTRY.match(line):
            entry.append(line)
            continue
        if entry and ("ERROR" in entry[0] or "CRITICAL" in entry[0]):
            found += [entry[0], *entry[1:][-1:]]
        entry = [line]
    return found
