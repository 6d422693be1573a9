"""Tasks that go wrong on purpose: a fault is an argument of a test."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

import deeprc as rc


def raise_on(comm: rc.Communicator, rank: int) -> None:
    """Raise on one rank while the others wait for it in a collective."""
    if comm.rank == rank:
        raise ValueError(f"deliberately on {rank}")
    comm.barrier()


def die_on(comm: rc.Communicator, rank: int, how: str) -> None:
    """End one rank in the given way while the others wait for it in a collective."""
    print(f"rank {comm.rank} was here", flush=True)
    if comm.rank == rank:
        end(how)
    comm.barrier()


def end(how: str) -> None:
    """End this process as a crash would."""
    if how == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "SIGSEGV":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(7)
    elif how == "hang":
        time.sleep(600)


def die_once(marker: str) -> str:
    """Be killed the first time, succeed the second."""
    if not Path(marker).exists():
        Path(marker).touch()
        end("SIGKILL")
    return "survived"


def announce_and_wait(comm: rc.Communicator, directory: str) -> None:
    """Leave this rank's pid and wait in a collective that never completes."""
    (Path(directory) / f"rank{comm.rank}").write_text(str(os.getpid()))
    if comm.rank == 0:
        time.sleep(600)
    comm.barrier()


def children_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def wait_until(condition: object, timeout_s: float = 60.0) -> bool:
    """Poll a condition until it holds; False if it never does."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    """Whether a process still runs; one that has ended and is not yet waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_named(process: psutil.Process, name: str) -> bool:
    """Whether a process, which may end at any moment, runs the program of that name."""
    try:
        return bool(process.name() == name)
    except psutil.Error:
        return False


def shared_memory_of(family: list[psutil.Process]) -> set[Path]:
    """What processes have in /dev/shm, under the names that it had when they mapped it, and their agent's folders."""
    places = set()
    for process in family:
        # It may have ended meanwhile.
        with suppress(OSError):
            lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
            places |= {Path(line.split()[5]) for line in lines if " /dev/shm/" in line}
        places |= set(Path("/dev/shm").glob(f"deeprc-mpi-{process.pid}-*"))
    return places


def agent_of(session: rc.Session) -> psutil.Process:
    """The one agent of a local session."""
    [agent] = [child for child in psutil.Process().children() if is_agent(child, session)]
    return agent


def is_agent(process: psutil.Process, session: rc.Session) -> bool:
    """Whether a process is an agent of a session."""
    return {"deeprc.runtime.agent", str(session.run_directory)} <= set(words_of(process))


def words_of(process: psutil.Process) -> list[str]:
    """The command of a process that may end at any moment; none once it has."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@contextmanager
def bound(source: Path, target: Path) -> Iterator[None]:
    """Mount `source` at `target`; skips the test where that is not permitted."""
    with mounted(target, "--bind", str(source)):
        yield


@contextmanager
def tmpfs(target: Path, size: str) -> Iterator[None]:
    """A file system of `size` at `target`; skips the test where mounting is not permitted."""
    with mounted(target, "-t", "tmpfs", "-o", f"size={size}", "deeprc-test"):
        yield


@contextmanager
def mounted(target: Path, *options: str) -> Iterator[None]:
    """Mount something at `target`, which is made if absent."""
    target.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(target)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(target)], check=True)


@contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[str]:
    """A control group of limited memory: the file into which a process writes its pid to enter it."""
    group, limit = _new_cgroup()
    try:
        (group / limit).write_text(str(limit_bytes))
        yield str(group / "cgroup.procs")
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def _new_cgroup() -> tuple[Path, str]:
    """A memory control group and the name of its limit, by version 1 or 2; skips the test where there is none."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"deeprc-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            return group, limit
        group.rmdir()
    pytest.skip("memory control groups are not permitted here")


def successor(before: int) -> int:
    """One more."""
    return before + 1
