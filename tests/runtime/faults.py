"""Tasks that go wrong on purpose: a fault is an argument of a test."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

import psutil

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


def wait_until(condition: object, timeout_s: float = 30.0) -> bool:
    """Poll a condition until it holds; False if it never does."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False
