"""A rank: a process that serves one task after another, each with a communicator of its own."""

from __future__ import annotations

import faulthandler
import os
import pickle
import random
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle

from deeprc.bridge import set_dataset_root
from deeprc.communicator import Communicator, Rendezvous, connect
from deeprc.journal import set_sink
from deeprc.runtime.calls import unpickle_call
from deeprc.runtime.family import adopt_orphans, has_children
from deeprc.runtime.messages import Assignment, JournalEvent, RankRaised, RankReturned, Shared
from deeprc.runtime.packing import packed
from deeprc.runtime.zygote import die_with_parent
from deeprc.spec.signature import with_communicator


def serve(channel: Connection, run_directory: Path) -> None:
    """Do assignments until the agent closes the channel."""
    faulthandler.enable()
    adopt_orphans()
    _reseed()
    while True:
        try:
            assignment: Assignment = channel.recv()
        except EOFError:
            return
        channel.send(_perform(assignment, channel, run_directory))


def _perform(assignment: Assignment, channel: Connection, run_directory: Path) -> RankReturned | RankRaised:
    try:
        with _environment(assignment, channel, run_directory):
            result = _call(assignment, channel, run_directory)
            return RankReturned(_packed(assignment, result, run_directory), _held_bytes(), has_children())
    except BaseException as error:
        return RankRaised(_one_line(error), _users_traceback(error), type(error).__name__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _call(assignment: Assignment, channel: Connection, run_directory: Path) -> Any:
    function, args, kwargs = unpickle_call(assignment.call, assignment.inputs)
    if assignment.backend is None:
        return function(*args, **kwargs)
    comm = _connected(assignment, channel, run_directory)
    try:
        args, kwargs = with_communicator(function, comm, args, kwargs)
        return function(*args, **kwargs)
    finally:
        # After an exception peers may be gone; the agent ends this rank, so nothing leaks by not closing.
        if sys.exc_info()[0] is None:
            comm.close()


def _connected(assignment: Assignment, channel: Connection, run_directory: Path) -> Communicator:
    def share(value: str | None) -> str:
        """Rank 0's value on every rank, by way of the agents."""
        if assignment.rank == 0 and value is not None:
            channel.send(Shared(value))
            return value
        shared: Shared = channel.recv()
        return shared.value

    return connect(
        Rendezvous(
            task=f"{assignment.task}.{assignment.attempt}",
            backend=assignment.backend or "solo",
            rank=assignment.rank,
            layout=assignment.layout,
            directory=str(run_directory / "rendezvous"),
            address=assignment.address,
            share=share,
        )
    )


@contextmanager
def _environment(assignment: Assignment, channel: Connection, run_directory: Path) -> Iterator[None]:
    """Point journal and datasets at the run, and libraries at the rank's threads and GPUs."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, assignment.gpus))
    _limit_threads(assignment.threads)
    set_dataset_root(run_directory / "datasets")

    def sink(kind: str, fields: dict[str, Any]) -> None:
        channel.send(JournalEvent(kind, {"task": assignment.task, "rank": assignment.rank, **fields}))

    set_sink(sink)
    try:
        yield
    finally:
        set_sink(None)


def _limit_threads(threads: int) -> None:
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:
            # A warm rank has its TensorFlow runtime already, with the same number: it is part of the profile.
            return


def _packed(assignment: Assignment, result: Any, run_directory: Path) -> bytes | None:
    """The pickled result of rank 0, and of any rank that made a part of a dataset."""
    if assignment.rank != 0 and type(result).__name__ != "Dataset":
        return None
    payload: bytes = cloudpickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL)
    name = f"{assignment.task}.{assignment.attempt}.{assignment.rank}.pickle"
    return packed(payload, run_directory / "results" / name)


def _users_traceback(error: BaseException) -> str:
    """The traceback from the user's function on, without the frames of this file."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__ and frames.tb_next:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _held_bytes() -> int:
    _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")


def _reseed() -> None:
    """Forked ranks share their parent's random state; give each its own."""
    random.seed()
    if "numpy" in sys.modules:
        import numpy as np

        np.random.seed()


def main() -> None:
    """Start a rank without a zygote: `python -m deeprc.runtime.rank FD RUN_DIRECTORY`."""
    die_with_parent()
    serve(Connection(int(sys.argv[1])), Path(sys.argv[2]))
    # As a forked rank: MPI's exit handler would wait for peers that may be dead.
    os._exit(0)


if __name__ == "__main__":
    main()
