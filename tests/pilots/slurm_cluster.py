"""Real Slurm on loopback: munge, a controller and some virtual nodes, all state in one temporary directory."""

from __future__ import annotations

import getpass
import itertools
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

_PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "munged")
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_INSTALL = "apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge"
_READY_S = 120.0
# Long enough that a machine which is busy loses none by itself.
NODE_LOST_S = 15

_CONFIGURATION = """\
ClusterName=deeprc
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
TmpFS={folder}/tmp/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1,requeue_delay=0
SlurmdParameters=config_overrides
GresTypes=gpu
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout={node_lost_s}
KillWait=20
OverTimeLimit=0
InactiveLimit=0
MinJobAge=300
"""
_NODE = (
    "NodeName=node{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Boards=1 SocketsPerBoard=1 "
    "CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory_mib} Gres=gpu:{gpus} State=UNKNOWN\n"
)


@dataclass
class SlurmCluster:
    """A running cluster: `environment` reaches it, `node1`, `node2`... are its nodes."""

    folder: Path
    nodes: int
    cpus: int
    memory_mib: int
    gpus: int
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str, timeout_s: float = 60.0) -> str:
        """What a Slurm command prints; fails if it fails."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def jobs(self) -> list[str]:
        """Ids of jobs that have not ended."""
        return self.command("squeue", "--noheader", "--format=%i").split()

    def daemon(self, name: str) -> psutil.Process:
        """The process of "slurmctld", "munged" or "slurmd.node1"."""
        return psutil.Process(int((self.folder / f"{name}.pid").read_text()))

    def start_node(self, number: int) -> None:
        """Start the daemon of one node, also again after it was killed."""
        # What nodes of one machine would share in /tmp: a node's PMIx server finds its folder taken.
        for place in ("spool", "tmp"):
            (self.folder / place / f"node{number}").mkdir(parents=True, exist_ok=True)
        self.command("slurmd", "-N", f"node{number}", "-f", str(self.folder / "slurm.conf"))

    def wait_until_idle(self) -> None:
        """Until every node is up and free; those that were lost or taken out are taken back."""
        deadline = time.monotonic() + _READY_S
        # Not by the state of each: that may be told as "mixed" long after a node's last job has ended.
        while self.command("sinfo", "--noheader", "--states=idle", "--format=%D").split() != [str(self.nodes)]:
            if time.monotonic() > deadline:
                logs = "\n".join(log.read_text()[-2000:] for log in sorted(self.folder.glob("*.log")))
                pytest.fail(f"the nodes did not become idle:\n{self.command('sinfo', '-N', '-l')}\n{logs}")
            for node in self.command("sinfo", "--noheader", "--Node", "--states=down,drain", "--format=%N").split():
                # Slurm, too, may take it back, at any moment.
                resume = ("scontrol", "update", f"NodeName={node}", "State=RESUME")
                subprocess.run(resume, env=self.environment, capture_output=True, timeout=60, check=False)
            time.sleep(0.1)

    def start_again(self, job: str) -> None:
        """Start a job that has been put back into the queue, and which Slurm would hold there for two minutes."""
        self.wait_until_idle()
        # A node takes no order for the job that was signed in the second in which it ended it.
        time.sleep(2)
        self.command("scontrol", "update", f"JobId={job}", "StartTime=now")

    def cancel_all(self) -> None:
        """Cancel every job and wait until none is left."""
        deadline = time.monotonic() + _READY_S
        while (ids := self.jobs()) and time.monotonic() < deadline:
            # One that has just ended by itself, or is ending, is refused.
            subprocess.run(["scancel", *ids], env=self.environment, capture_output=True, timeout=60, check=False)
            time.sleep(0.2)


def require_slurm() -> None:
    """Skip where Slurm is absent and can't be installed by who runs the tests; fail where it could have been."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing and os.geteuid() != 0:
        pytest.skip(f"no {', '.join(missing)}; as root: {_INSTALL}")
    if missing:
        pytest.fail(f"no {', '.join(missing)}: {_INSTALL}")


@contextmanager
def slurm_cluster(
    nodes: int = 2, *, cpus: int = 2, memory_mib: int = 2048, gpus: int = 2, environment: Mapping[str, str] = os.environ
) -> Iterator[SlurmCluster]:
    """Bring a cluster up, and take it down with all that it ran. Ports are free ones, all on loopback."""
    require_slurm()
    # Not pytest's own folder: a socket's path may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="deeprc-slurm-"))
    kept = {name: value for name, value in environment.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    cluster = SlurmCluster(folder, nodes, cpus, memory_mib, gpus)
    cluster.environment = {**kept, "PATH": _PATH, "SLURM_CONF": str(folder / "slurm.conf")}
    try:
        _start(cluster)
        yield cluster
    finally:
        _stop(cluster)
        shutil.rmtree(folder, ignore_errors=True)


def _start(cluster: SlurmCluster) -> None:
    folder = cluster.folder
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    cluster.command(
        "munged",
        "--force",
        f"--key-file={folder}/munge.key",
        f"--socket={folder}/munge.sock",
        f"--pid-file={folder}/munged.pid",
        f"--log-file={folder}/munged.log",
        f"--seed-file={folder}/munge.seed",
    )
    (folder / "slurm.conf").write_text(_configuration(cluster))
    # Pretended devices: Slurm counts and hands out files, and these are some.
    for number in range(cluster.gpus):
        (folder / f"gpu{number}").touch()
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={folder}/gpu{n}\n" for n in range(cluster.gpus)))
    (folder / "state").mkdir()
    cluster.command("slurmctld", "-c", "-f", str(folder / "slurm.conf"))
    for number in range(1, cluster.nodes + 1):
        cluster.start_node(number)
    cluster.wait_until_idle()


def _configuration(cluster: SlurmCluster) -> str:
    host = socket.gethostname().partition(".")[0]
    port, *ports = _free_ports(1 + cluster.nodes)
    text = _CONFIGURATION.format(
        host=host, port=port, user=getpass.getuser(), folder=cluster.folder, node_lost_s=NODE_LOST_S
    )
    for number, node_port in enumerate(ports, start=1):
        text += _NODE.format(
            number=number,
            host=host,
            port=node_port,
            cpus=cluster.cpus,
            memory_mib=cluster.memory_mib,
            gpus=cluster.gpus,
        )
    return f"{text}PartitionName=debug Nodes=node[1-{cluster.nodes}] Default=YES MaxTime=INFINITE State=UP\n"


def _free_ports(number: int) -> list[int]:
    """Ports that nobody listens on, below those which the kernel gives to connections: a daemon may start again."""
    lowest_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = random.SystemRandom().sample(range(max(1024, lowest_given - 20_000), lowest_given), 1000)
    return list(itertools.islice(filter(_is_free, candidates), number))


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _stop(cluster: SlurmCluster) -> None:
    """End jobs, then daemons and all that is left of either, found by their configuration file."""
    with suppress(AssertionError, subprocess.TimeoutExpired):
        # The controller may be gone by the test's own hand.
        cluster.cancel_all()
    left = [process for process in psutil.process_iter() if _belongs_to(process, cluster.folder)]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=30)


def _belongs_to(process: psutil.Process, folder: Path) -> bool:
    try:
        words = " ".join(process.cmdline())
        return str(folder) in words or process.environ().get("SLURM_CONF") == str(folder / "slurm.conf")
    except psutil.Error:
        return False


@contextmanager
def allocation(cluster: SlurmCluster, *options: str) -> Iterator[str]:
    """A job that holds nodes and runs nothing; gives its id. Options are those of salloc."""
    done = subprocess.run(
        ["salloc", "--no-shell", *options],
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    job = done.stderr.partition("Granted job allocation ")[2].split()[0]
    try:
        yield job
    finally:
        cluster.cancel_all()
