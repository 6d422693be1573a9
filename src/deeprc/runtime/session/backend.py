"""Which communicator a task gets, and whether this machine can give it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from deeprc.communicator import backends
from deeprc.errors import SpecError, valid_values
from deeprc.runtime.session.profile import profile_of

_PACKAGE = {"mpi": "mpi4py", "gloo": "torch", "nccl": "torch"}
_INSTALL = {
    "mpi": "pip install 'deeprc[mpi]'",
    "gloo": "pip install 'deeprc[torch]'",
    "nccl": "pip install torch",
}


def backend_for(comm: str | None, function: Callable[..., Any], *, ranks: int, gpus: int) -> str | None:
    """Resolve "auto" and refuse what cannot be had.

    auto: one rank is alone; with GPUs it is nccl; else gloo for a function that uses torch, which then finds its
    default group, and mpi for all others.

    Raises:
        SpecError: an unknown name, or a backend that lacks a library or a GPU; says which and how to get it.
    """
    if comm == "auto":
        return _automatic(function, ranks=ranks, gpus=gpus)
    if comm is None:
        return None
    if comm not in backends():
        raise SpecError(
            f"unknown communicator {comm!r}. {valid_values(comm, [*backends(), 'auto'], noun='communicator')}"
        )
    if comm == "solo" and ranks > 1:
        raise SpecError(f"the solo communicator holds one rank, not {ranks}. Use comm='auto', 'mpi' or 'gloo'.")
    if comm in _PACKAGE and find_spec(_PACKAGE[comm]) is None:
        raise SpecError(f"comm={comm!r} needs {_PACKAGE[comm]}, which is not installed: {_INSTALL[comm]}")
    if comm == "nccl" and gpus == 0:
        raise SpecError("comm='nccl' needs GPUs, and this task has gpus=0. Use gpus=1 for each rank, or comm='gloo'.")
    return comm


def _automatic(function: Callable[..., Any], *, ranks: int, gpus: int) -> str:
    if ranks == 1:
        return "solo"
    has = {package: find_spec(package) is not None for package in ("mpi4py", "torch")}
    if gpus and has["torch"]:
        return "nccl"
    uses_torch = "torch" in profile_of(function, None, 1)[0].family
    if has["torch"] and (uses_torch or not has["mpi4py"]):
        return "gloo"
    if has["mpi4py"]:
        return "mpi"
    raise SpecError(
        f"{ranks} ranks need a communicator, and neither mpi4py nor torch is installed: "
        f"{_INSTALL['mpi']}, or {_INSTALL['gloo']}"
    )
