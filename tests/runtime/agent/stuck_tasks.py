"""Tasks whose ranks wait for one another in vain."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import polars as pl

import deeprc as rc


def one_leaves(comm: rc.Communicator, operation: str, leaves: int = 0) -> str:
    """One rank returns; the others enter an operation that takes all."""
    comm.all_gather(comm.rank)
    if comm.rank == leaves:
        return "returned"
    if operation == "barrier":
        comm.barrier()
    elif operation == "all_reduce":
        comm.all_reduce(np.ones(3))
    elif operation == "all_to_all":
        comm.all_to_all([b"x"] * comm.size)
    elif operation == "raw":
        enter_raw(comm)
    return "stayed"


class SlowToTell:
    """A result that takes a while to be sent."""

    def __reduce__(self) -> Any:
        time.sleep(1)
        return SlowToTell, ()


def one_leaves_without_a_word(comm: rc.Communicator) -> Any:
    """Rank 0 has hung up long before its agent hears that it has returned."""
    comm.all_gather(comm.rank)
    if comm.rank == 0:
        return SlowToTell()
    comm.barrier()
    return None


def enter_raw(comm: rc.Communicator) -> None:
    """A barrier of the library behind the communicator."""
    if comm.backend == "mpi":
        comm.mpi.Barrier()
    else:
        import torch.distributed as dist

        dist.barrier(comm.process_group)


def everyone_elsewhere(comm: rc.Communicator, raw: bool = False) -> Any:
    """Rank 0 returns, rank 1 waits in a barrier, rank 2 computes for ever."""
    comm.barrier()
    if comm.rank == 0:
        return None
    if comm.rank == 1:
        if raw:
            enter_raw(comm)
        comm.barrier()
    while True:
        pass


def one_sleeps(comm: rc.Communicator, raw: bool) -> None:
    """Rank 1 waits for rank 0, which sleeps."""
    if comm.rank == 0:
        time.sleep(600)
    enter_raw(comm) if raw else comm.barrier()


def one_is_late(comm: rc.Communicator, seconds: float) -> int:
    """Rank 0 returns; the others go on alone for a while."""
    comm.barrier()
    if comm.rank:
        time.sleep(seconds)
    return comm.rank


def hold_the_gil(comm: rc.Communicator) -> None:
    """Rank 0 is in one long call that gives the GIL to no thread; rank 1 waits for it."""
    if comm.rank == 0:
        pow(3, 10**9)
    comm.barrier()


def two_go_on(comm: rc.Communicator, seconds: float) -> int:
    """Rank 0 returns; rank 1 waits for rank 2 alone, longer than a rank that waits in vain may."""
    pair = comm.mpi.Split(comm.rank == 0)
    if comm.rank == 2:
        time.sleep(seconds)
    if comm.rank:
        pair.Barrier()
    return comm.rank


def stop_self(comm: rc.Communicator) -> None:
    """Rank 0 is stopped; rank 1 waits for it."""
    if comm.rank == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
    comm.barrier()


def in_an_exchange(comm: rc.Communicator) -> int:
    """Rank 0 leaves before the others join tables."""
    left = rc.from_polars(pl.DataFrame({"key": [1, 2], "left": [1, 2]}), comm)
    right = rc.from_polars(pl.DataFrame({"key": [1, 2], "right": [1, 2]}), comm)
    if comm.rank == 0:
        return 0
    return left.join(right, on="key").collect().height
