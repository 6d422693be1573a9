"""Where a training stands, in a file: its task may be stopped after any epoch, and go on from there."""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeprc.errors import TaskStoppedError
from deeprc.workspace import checkpoint_part, stopping

if TYPE_CHECKING:
    from deeprc.communicator import Communicator

_EVERY_S = 60.0


@dataclass(frozen=True)
class State:
    """What the epochs so far have led to: the loop's own values, and the arrays of all variables."""

    values: dict[str, Any]
    model: list[Any]
    optimizer: list[Any]


class Checkpoint:
    """The checkpoint of one training of a task; rank 0 writes it. Collective; outside a run it does nothing."""

    def __init__(self, model: Any, optimizer: Any, comm: Communicator) -> None:
        self._model, self._optimizer, self._comm = model, optimizer, comm
        part = checkpoint_part()
        self._path = part / "training.pickle" if part else None
        self._saved_s = time.monotonic()

    def restore(self) -> dict[str, Any] | None:
        """Set model and optimizer to where an earlier attempt had come, on all ranks; the loop's values then."""
        if self._path is None:
            return None
        found = pickle.loads(self._path.read_bytes()) if self._comm.rank == 0 and self._path.exists() else None
        state: State | None = self._comm.broadcast(found)
        if state is None:
            return None
        for variables, arrays in ((self._model.variables, state.model), (self._optimizer.variables, state.optimizer)):
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)
        return state.values

    def keep(self, **values: Any) -> None:
        """Write how it stands after an epoch: once a minute, and when the run stops.

        Raises:
            TaskStoppedError: the run stops, and it has been written.
        """
        if self._path is None:
            return
        stops = stopping(self._comm)
        if self._comm.rank == 0 and (stops or time.monotonic() - self._saved_s > _EVERY_S):
            self._write(self._path, values)
        if stops:
            # Not before it is there: a rank that leaves may end the others.
            self._comm.barrier()
            raise TaskStoppedError(f"after epoch {len(values['history'])}")

    def _write(self, path: Path, values: dict[str, Any]) -> None:
        arrays = ([variable.numpy() for variable in each.variables] for each in (self._model, self._optimizer))
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(pickle.dumps(State(values, *arrays), pickle.HIGHEST_PROTOCOL))
        temporary.replace(path)
        self._saved_s = time.monotonic()
