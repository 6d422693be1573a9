"""A rank: a process that serves one task after another, each with a communicator of its own."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import pickle
import random
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from deeprc.bridge import set_dataset_root
from deeprc.communicator import Communicator, Rendezvous, connect
from deeprc.errors import TaskStoppedError
from deeprc.journal import set_sink
from deeprc.runtime.link.channel import RankChannel
from deeprc.runtime.link.messages import (
    Assignment,
    Joining,
    JournalEvent,
    PickledFunction,
    RankRaised,
    RankStopped,
    Shared,
    StopSoon,
)
from deeprc.runtime.link.packing import is_dataset, packed
from deeprc.runtime.link.rank_page import clear_page, function_ended, offer_page
from deeprc.runtime.link.told import Told
from deeprc.runtime.link.unpickled import filling_in
from deeprc.runtime.link.whereabouts import Frame
from deeprc.runtime.process.devices import pin
from deeprc.runtime.process.family import adopt_orphans, die_with_parent, has_children
from deeprc.runtime.rank.stop_word import StopWord
from deeprc.runtime.rank.tracebacks import users_traceback
from deeprc.spec.signature import communicator_parameter, placed_communicator
from deeprc.workspace import scratch_of, set_checkpoints, set_memory_budget, set_scratch

_MOST_LOADED = 256
# Results that the standard pickler writes as cloudpickle would, in a tenth of the time.
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
_statm: int | None = None


def serve(channel: RankChannel, run_directory: Path) -> None:
    """Do assignments until the agent closes the channel."""
    faulthandler.enable()
    offer_page()
    adopt_orphans()
    _reseed()
    set_dataset_root(run_directory / "datasets")
    set_scratch(scratch_of(run_directory))
    functions = _Functions()
    while True:
        try:
            message = channel.receive()
        except EOFError:
            return
        if isinstance(message, StopSoon):
            # It has come too late for the task before.
            continue
        assignment = Assignment._make(message)
        set_memory_budget(assignment.table_bytes)
        answer = _perform(assignment, functions, channel, run_directory)
        try:
            channel.send(answer)
        except BrokenPipeError:
            return
        # Not before: a peer may tell of our end at once, and the agent has to know of it by the one or the other.
        clear_page()


def _perform(
    assignment: Assignment, functions: _Functions, channel: RankChannel, run_directory: Path
) -> tuple[Any, ...] | RankRaised | RankStopped:
    try:
        _prepare(assignment, channel)
        word = StopWord(channel)
        set_checkpoints(run_directory, assignment.task, word.is_told)
        result = _call(assignment, functions, channel, word)
        return _packed(assignment, result, run_directory), _held_bytes(), has_children()
    except TaskStoppedError as stopped:
        return RankStopped(str(stopped))
    except BaseException as error:
        return RankRaised(_one_line(error), users_traceback(error), type(error).__name__, _frames(error))
    finally:
        set_sink(None)
        # A log on a full disk is no reason for the rank to die.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()


class _Functions:
    """The functions that this rank has been sent, and the copies of them that it may call again."""

    def __init__(self) -> None:
        self._told = Told()
        self._loaded: dict[bytes, tuple[Callable[..., Any], str | None]] = {}

    def load(self, sent: PickledFunction) -> tuple[Callable[..., Any], str | None]:
        """The function and the name of its parameter for the communicator."""
        function = self._told.completed(sent)
        if function.key is not None and function.key in self._loaded:
            return self._loaded[function.key]
        loaded = pickle.loads(function.payload or b"")
        known = loaded, communicator_parameter(loaded)
        if function.key is not None and function.reusable:
            if len(self._loaded) >= _MOST_LOADED:
                self._loaded.clear()
            self._loaded[function.key] = known
        return known


def _call(assignment: Assignment, functions: _Functions, channel: RankChannel, word: StopWord) -> Any:
    with filling_in(assignment.inputs):
        function, parameter = functions.load(PickledFunction._make(assignment.function))
        args, kwargs = pickle.loads(assignment.arguments)
    alone = assignment.backend == "solo" and parameter is None
    if assignment.backend is None or alone:
        return function(*args, **kwargs)
    comm = _connected(assignment, channel, word)
    try:
        args, kwargs = placed_communicator(function, parameter, comm, args, kwargs)
        result = function(*args, **kwargs)
        function_ended()
        return result
    finally:
        # After an exception peers may be gone; the agent ends this rank, so nothing leaks by not closing.
        if sys.exc_info()[0] is None:
            comm.close()


def _connected(assignment: Assignment, channel: RankChannel, word: StopWord) -> Communicator:
    def share(value: str | None) -> str:
        """Rank 0's value on every rank, by way of the agents."""
        if assignment.rank == 0 and value is not None:
            channel.send(Shared(value))
            return value
        shared: Shared = word.receive()
        return shared.value

    return connect(
        Rendezvous(
            task=f"{assignment.task}.{assignment.attempt}",
            backend=assignment.backend or "solo",
            rank=assignment.rank,
            layout=assignment.layout,
            share=share,
            address=assignment.address,
            joined=lambda joined: channel.send(Joining(joined)),
        )
    )


def _prepare(assignment: Assignment, channel: RankChannel) -> None:
    """Point the journal at the task, and libraries at the rank's cores, threads and GPUs, if they point elsewhere."""
    gpus = ",".join(assignment.gpus)
    if os.environ.get("CUDA_VISIBLE_DEVICES") != gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    pin(assignment.cores)
    _limit_threads(assignment.threads)

    def sink(kind: str, fields: dict[str, Any]) -> None:
        event = {"task": assignment.task, "rank": assignment.rank, **fields}
        # As the journal writes it: neither agent nor driver finds the user's classes.
        channel.send(JournalEvent(kind, json.loads(json.dumps(event, default=str))))

    set_sink(sink)


def _limit_threads(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    tf = sys.modules.get("tensorflow")
    if tf is not None and tf.config.threading.get_intra_op_parallelism_threads() != threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:
            # A warm rank has its TensorFlow runtime already, with the same number: it is part of the profile.
            return


def _packed(assignment: Assignment, result: Any, run_directory: Path) -> bytes | None:
    """The pickled result of rank 0, and of any rank that made a part of a dataset."""
    if assignment.rank != 0 and not is_dataset(result):
        return None
    if type(result) in _PLAIN:
        payload = pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
    else:
        payload = cloudpickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL)
    name = f"{assignment.task}.{assignment.attempt}.{assignment.rank}.pickle"
    return packed(payload, run_directory / "results" / name)


def _frames(error: BaseException) -> tuple[Frame, ...]:
    """The stack on which an exception was raised, innermost first."""
    stack = traceback.walk_tb(error.__traceback__)
    return tuple(Frame(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in stack)[::-1]


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _held_bytes() -> int:
    global _statm
    if _statm is None:
        # Kept open: that is most of what asking costs.
        _statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    _, resident, shared, *_ = os.pread(_statm, 128, 0).split()
    return (int(resident) - int(shared)) * _PAGE_BYTES


def _reseed() -> None:
    """Forked ranks share their parent's random state; give each its own."""
    random.seed()
    if "numpy" in sys.modules:
        import numpy as np

        np.random.seed()


def main() -> None:
    """Start a rank without a zygote: `python -m deeprc.runtime.rank.rank FD RUN_DIRECTORY`."""
    die_with_parent(os.getppid())
    serve(RankChannel(int(sys.argv[1])), Path(sys.argv[2]))
    # As a forked rank: MPI's exit handler would wait for peers that may be dead.
    os._exit(0)


if __name__ == "__main__":
    main()
