"""The sites that the contract is tried at: how a test starts, harms and inspects each of them.

A pilot joins the suite by a class here and its name in `SITES`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

import deeprc as rc
from deeprc.pilots.leftovers import end_processes_in
from deeprc.pilots.radical import RadicalPilot
from deeprc.pilots.ray import RayPilot
from tests.pilots.slurm_cluster import allocation, slurm_cluster
from tests.runtime import faults


class Site(Protocol):
    """One pilot and what stands behind it; `exclusive` where its nodes are given to nobody else."""

    exclusive: bool

    def start(self) -> None:
        """Start the site's service, once for all tests; skips them, with the reason, where it cannot be had."""
        ...

    def stop(self) -> None:
        """Stop what `start` started."""
        ...

    def session(self, run_dir: Path, *, nodes: int = 2, cores: int = 2) -> rc.Session:
        """A session of that many nodes, with that many cores on each."""
        ...

    def kill_agent(self, session: rc.Session, node: str) -> None:
        """End a node's agent as a crash would, in mid-task."""
        ...

    def leftovers(self, session: rc.Session) -> list[str]:
        """What a closed session has left at the site, in words: processes, jobs, files outside the run directory."""
        ...


class LocalSite:
    """This machine, pretending to be several nodes."""

    exclusive = False

    def start(self) -> None:
        return

    def stop(self) -> None:
        return

    def session(self, run_dir: Path, *, nodes: int = 2, cores: int = 2) -> rc.Session:
        return rc.Session("local", nodes=nodes, cores=cores, run_dir=run_dir)

    def kill_agent(self, session: rc.Session, node: str) -> None:
        [agent] = agents_of(session, node)
        agent.kill()

    def leftovers(self, session: rc.Session) -> list[str]:
        return [f"process {process.pid}: {faults.words_of(process)}" for process in processes_of(session)]


class SlurmSite:
    """A job of two virtual nodes, in which this process takes itself to be."""

    exclusive = True

    def start(self) -> None:
        self._stack = ExitStack()
        self._cluster = self._stack.enter_context(slurm_cluster(nodes=2))
        job = self._stack.enter_context(allocation(self._cluster, "--nodes=2", "--exclusive", "--no-kill"))
        environment = self._stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in {**self._cluster.environment, "SLURM_JOB_ID": job}.items():
            environment.setenv(name, value)

    def stop(self) -> None:
        self._stack.close()

    def session(self, run_dir: Path, *, nodes: int = 2, cores: int = 2) -> rc.Session:
        return rc.Session("slurm", nodes=nodes, cores=cores, run_dir=run_dir)

    def kill_agent(self, session: rc.Session, node: str) -> None:
        [agent] = agents_of(session, node)
        agent.kill()

    def leftovers(self, session: rc.Session) -> list[str]:
        listing = self._cluster.command("squeue", "--noheader", "--steps", "--format=%i %j").splitlines()
        # The session that all tests share has a step as well, and a run directory of another name.
        steps = [f"step {line}" for line in listing if f" deeprc-{session.run_directory.name}-" in line]
        return steps + [f"process {process.pid}: {faults.words_of(process)}" for process in processes_of(session)]


class RaySite:
    """A Ray cluster of two nodes on this machine: a raylet each, more CPUs than any test asks for."""

    exclusive = False

    def start(self) -> None:
        pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 8, "include_dashboard": False})
        self._cluster.add_node(num_cpus=8)

    def stop(self) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()

    def session(self, run_dir: Path, *, nodes: int = 2, cores: int = 2) -> rc.Session:
        return rc.Session(RayPilot(self._cluster.address), nodes=nodes, cores=cores, run_dir=run_dir)

    def kill_agent(self, session: rc.Session, node: str) -> None:
        [agent] = agents_of(session, node)
        agent.kill()

    def leftovers(self, session: rc.Session) -> list[str]:
        import ray
        from ray.util import placement_group_table

        found = [f"process {process.pid}: {faults.words_of(process)}" for process in processes_of(session)]
        if ray.is_initialized():
            groups = [group for group in placement_group_table().values() if group["state"] == "CREATED"]
            # The session that all tests share holds one.
            found += [f"placement group {group['placement_group_id']}" for group in groups[1:]]
        return found


class RadicalSite:
    """A RADICAL-Pilot of this process whose pilot pretends nodes of 8 cores here: its sessions start in a second.

    Sessions with a RADICAL-Pilot of their own are tried in test_radical.py: each takes half a minute.
    """

    exclusive = False

    def start(self) -> None:
        pytest.importorskip("radical.pilot")
        self._stack = ExitStack()
        self._task_manager = self._stack.enter_context(radical_task_manager(nodes=4))

    def stop(self) -> None:
        self._stack.close()

    def session(self, run_dir: Path, *, nodes: int = 2, cores: int = 2) -> rc.Session:
        pilot = RadicalPilot(task_manager=self._task_manager)
        return rc.Session(pilot, nodes=nodes, cores=cores, run_dir=run_dir)

    def kill_agent(self, session: rc.Session, node: str) -> None:
        [agent] = agents_of(session, node)
        agent.kill()

    def leftovers(self, session: rc.Session) -> list[str]:
        tasks = [
            f"RADICAL-Pilot's task {task.uid} is {task.state}"
            for task in self._task_manager.get_tasks()
            if task.description["stdout"].startswith(f"{session.run_directory}/")
            and task.state not in ("DONE", "FAILED", "CANCELED")
        ]
        files = [str(path) for path in (session.run_directory / "radical",) if path.exists()]
        return (
            files + tasks + [f"process {process.pid}: {faults.words_of(process)}" for process in processes_of(session)]
        )


@contextmanager
def radical_task_manager(nodes: int) -> Iterator[Any]:
    """A `radical.pilot.TaskManager` of this process, with an active pilot of so many nodes, as a user would make it."""
    with radical_session() as session:
        import radical.pilot as rp

        pilots, tasks = rp.PilotManager(session=session), rp.TaskManager(session=session)
        described = {"resource": "local.localhost", "nodes": nodes, "runtime": 60, "exit_on_error": False}
        pilot = pilots.submit_pilots(rp.PilotDescription(described | {"sandbox": os.environ["RADICAL_BASE"]}))
        tasks.add_pilots(pilot)
        assert pilot.wait(rp.PMGR_ACTIVE, timeout=120) == rp.PMGR_ACTIVE
        yield tasks
        # What uses them leaves them as they are.
        assert pilot.state == rp.PMGR_ACTIVE


@contextmanager
def radical_session() -> Iterator[Any]:
    """A `radical.pilot.Session` of this process, its files in a temporary folder; what it has started is ended."""
    folder = Path(tempfile.mkdtemp(prefix="deeprc-radical-"))
    with pytest.MonkeyPatch.context() as environment:
        # RADICAL-Pilot looks for its programs on PATH, and for the folder of its files in the other two.
        environment.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        environment.setenv("VIRTUAL_ENV", sys.prefix)
        environment.setenv("RADICAL_BASE", str(folder))
        environment.setenv("PWD", str(folder))
        # Some of its files are not removed, by this process or by those that it starts.
        environment.setenv("TMPDIR", str(folder))
        environment.setattr(tempfile, "tempdir", str(folder))
        # It asks for its folder while it is imported.
        import radical.pilot as rp

        try:
            session = rp.Session()
            try:
                yield session
            finally:
                session.close(download=False)
        finally:
            end_processes_in(folder)
            shutil.rmtree(folder, ignore_errors=True)


def agents_of(session: rc.Session, node: str) -> list[psutil.Process]:
    """The agents of a node that run on this machine, whoever started them."""
    marks = {"deeprc.runtime.agent", str(session.run_directory), node}
    return [process for process in started_as(marks) if process.pid != os.getpid()]


def started_as(marks: set[str]) -> list[psutil.Process]:
    """Processes on this machine with all these words in their command.

    Without their children: one that has just been forked has its parent's words until it starts its own program.
    """
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if marks <= set(process.cmdline()):
                found[process.pid] = process, process.ppid()
    return [process for process, parent in found.values() if parent not in found]


def processes_of(session: rc.Session) -> list[psutil.Process]:
    """Processes on this machine, this one apart, that name a session's run directory or have a log of it open."""
    directory = str(session.run_directory)
    found = []
    for process in psutil.process_iter():
        try:
            names = [*process.cmdline(), *(file.path for file in process.open_files())]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != psutil.Process().pid and any(name.startswith(directory) for name in names):
            found.append(process)
    return found


def shared_memory_of(processes: list[psutil.Process]) -> set[Path]:
    """Segments in /dev/shm that processes of this user have open and that still have a name."""
    found = set()
    for process in processes:
        # It may end meanwhile, or close what it had open.
        with contextlib.suppress(OSError):
            for entry in list(Path(f"/proc/{process.pid}/fd").iterdir()):
                with contextlib.suppress(OSError):
                    found.add(entry.readlink())
    return {target for target in found if target.parent == Path("/dev/shm") and target.exists()}


SITES: dict[str, type[Site]] = {"local": LocalSite, "radical": RadicalSite, "ray": RaySite, "slurm": SlurmSite}


# RADICAL-Pilot takes half a minute to start and to end.
_PARAMETERS = [pytest.param(name, marks=pytest.mark.slow if name == "radical" else ()) for name in sorted(SITES)]


@pytest.fixture(scope="module", params=_PARAMETERS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Each site in turn, its service running."""
    site = SITES[request.param]()
    site.start()
    yield site
    site.stop()
