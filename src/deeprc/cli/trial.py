"""Two ranks that greet each other: whether a communicator works here, found out by using it."""

from __future__ import annotations

import tempfile
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

from deeprc.cli.machine import Finding
from deeprc.communicator import Communicator
from deeprc.errors import DeepRCError

_LIMIT_S = 60.0


def greet(comm: Communicator) -> list[int]:
    """Every rank's number, gathered on every rank."""
    return comm.all_gather(comm.rank)


def try_communicators(names: tuple[str, ...] = ("mpi", "gloo")) -> list[Finding]:
    """Start two ranks with each communicator and let them gather."""
    from deeprc.runtime import Session

    with (
        tempfile.TemporaryDirectory(prefix="deeprc-trial-") as folder,
        Session(cores=2, run_dir=Path(folder) / "run", name="doctor") as session,
    ):
        return [_tried(session, name) for name in names]


def _tried(session: object, name: str) -> Finding:
    from deeprc.runtime import Session

    assert isinstance(session, Session)
    what = f"two ranks, {name}"
    try:
        future = session.submit(greet, ranks=2, comm=name, name=f"greet-{name}", timeout=_LIMIT_S)  # type: ignore[arg-type]
        told = future.result(_LIMIT_S + 30)
    except (DeepRCError, FutureTimeoutError) as error:
        return Finding("trial", what, "missing", str(error), "the lines above say what is not installed")
    return Finding("trial", what, "ok" if told == [0, 1] else "warning", f"gathered {told}")
