"""The nodes of the Slurm job that this process runs in."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from deeprc.errors import ResourceError
from deeprc.pilots.slurm import (
    Host,
    Job,
    lost_states,
    lost_tasks,
    nodes_for,
    parse_hosts,
    parse_job,
    step_command,
    step_of,
    without_launcher,
)
from deeprc.runtime.pilot import Allocation, Node
from deeprc.runtime.process.exits import how_it_ended

_ANSWER_S = 60.0
_LOOK_AT_NODES_EVERY_S = 20.0
_OUTSIDE = (
    "this process runs in no Slurm job. From a login node: `deeprc run pipeline.yaml --on slurm --nodes 2 --time 1h`, "
    "which submits one; or start Python inside one: `salloc --nodes=2 --time=1:00:00`, or a script given to sbatch"
)


class SlurmPilot:
    """One agent on each node of the job, started by one `srun`, which ends them when its standard input ends."""

    def __init__(self) -> None:
        self._job: Job | None = None
        self._hosts: dict[str, Host] = {}
        self._nodes: list[Node] = []
        self._step_name = ""
        self._step: subprocess.Popen[bytes] | None = None
        self._log = Path(os.devnull)
        self._look: subprocess.Popen[str] | None = None
        self._next_look = 0.0
        self._gone: dict[str, str] = {}

    def host(self, allocation: Allocation) -> str:
        """Loopback if all nodes are this machine, else the address from which the other nodes are reached."""
        self._job, self._hosts = _this_job()
        self._nodes = nodes_for(self._job, self._hosts, allocation)
        return address_towards(self._hosts[node.name] for node in self._nodes if node.name in self._hosts)

    def start(self, allocation: Allocation, run_directory: Path) -> list[Node]:
        if self._job is None:
            self.host(allocation)
        assert self._job is not None
        # The job may have other sessions, whose runs are called alike.
        self._step_name = f"deeprc-{run_directory.name}-{secrets.token_hex(3)}"
        self._log = run_directory / "logs" / "srun.log"
        sizes = [f"{node.name}={node.cores}" for node in self._nodes]
        agent = [sys.executable, "-m", "deeprc.pilots.slurm_agent", str(run_directory), *sizes]
        path = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        with self._log.open("ab") as log:
            self._step = subprocess.Popen(
                step_command(self._job.id, self._nodes, self._step_name, agent),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**without_launcher(os.environ), "PYTHONPATH": path},
                # A Ctrl-C is for the session, which then ends the agents in good order.
                start_new_session=True,
            )
        return self._nodes

    def remarks(self) -> list[str]:
        """None: the cores of a job are nobody else's."""
        return []

    def lost_nodes(self) -> dict[str, str]:
        """What srun has said of its tasks and Slurm of its nodes; never waits for either."""
        if self._step is None:
            return {}
        # Before its log is read: what srun says last is in there then.
        has_ended = self._step.poll() is not None
        told = self._log.read_text(errors="replace")
        self._gone |= lost_tasks(told) | self._states()
        if has_ended:
            last = told.strip().splitlines()[-1:]
            why = f"srun, which held its agent, {how_it_ended(self._step.returncode)}"
            self._gone = {node.name: ": ".join([why, *last]) for node in self._nodes} | self._gone
        return self._gone

    def _states(self) -> dict[str, str]:
        """Nodes that Slurm has given up, asked now and then, and heard when the answer has come."""
        if self._look is None:
            if time.monotonic() >= self._next_look:
                names = ",".join(node.name for node in self._nodes)
                self._look = subprocess.Popen(
                    ["sinfo", "--noheader", "--Node", f"--nodes={names}", "--format=%N %T"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            return {}
        if self._look.poll() is None:
            return {}
        answer, _ = self._look.communicate()
        self._look, self._next_look = None, time.monotonic() + _LOOK_AT_NODES_EVERY_S
        return lost_states(answer)

    def close(self, timeout_s: float = 10.0) -> None:
        """End the agents; the job itself is its owner's."""
        if self._look is not None:
            self._look.kill()
            self._look.communicate()
            self._look = None
        if self._step is None:
            return
        assert self._step.stdin is not None
        self._step.stdin.close()
        try:
            if self._step.wait(timeout_s) != 0:
                self._cancel_step()
        except subprocess.TimeoutExpired:
            self._cancel_step()
        finally:
            # Also if Slurm does not answer.
            self._step.kill()
            self._step.wait()
            self._step = None

    def _cancel_step(self) -> None:
        """End what may be left of the step, where an agent did not end by itself or srun died before it."""
        assert self._job is not None and self._step is not None
        listing = slurm_says("squeue", "--noheader", "--steps", f"--job={self._job.id}", "--format=%i %j")
        if step := step_of(listing, self._step_name):
            slurm_says("scancel", "--signal=KILL", step)
        try:
            self._step.wait(5)
        except subprocess.TimeoutExpired:
            return


def slurm_says(*command: str) -> str:
    """What a command of Slurm prints.

    Raises:
        ResourceError: it is not installed, does not answer, or fails; with what it said.
    """
    if shutil.which(command[0]) is None:
        raise ResourceError(f"there is no {command[0]!r} on this machine; Slurm's commands have to be on PATH")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        raise ResourceError(f"`{' '.join(command)}` did not answer within {_ANSWER_S:.0f} s") from None
    if done.returncode != 0:
        raise ResourceError(f"{command[0]} failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def _this_job() -> tuple[Job, dict[str, Host]]:
    identifier = os.environ.get("SLURM_JOB_ID")
    if identifier is None:
        raise ResourceError(_OUTSIDE)
    job = parse_job(slurm_says("scontrol", "show", "job", "--details", identifier))
    if job.state != "RUNNING" or not job.nodes:
        raise ResourceError(f"job {job.id}, of SLURM_JOB_ID, is {job.state} and holds no nodes; {_OUTSIDE}")
    names = ",".join(node.name for node in job.nodes)
    return job, parse_hosts(slurm_says("scontrol", "show", "node", "--oneliner", names))


def address_towards(hosts: Iterable[Host]) -> str:
    """The address under which this machine is reached by those hosts: loopback if they are all this machine.

    Raises:
        ResourceError: a host's address cannot be resolved.
    """
    this = socket.gethostname().partition(".")[0]
    others = [host for host in hosts if host.hostname.partition(".")[0] != this]
    if not others:
        return "127.0.0.1"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Nothing is sent: this asks the routing table from where a datagram would go.
            probe.connect((others[0].address, 9))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ResourceError(f"the address {others[0].address!r} of node {others[0].hostname}: {error}") from None
