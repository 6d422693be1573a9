"""Functions that the pipelines of these tests name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import deeprc as rc
from deeprc.errors import DataError
from deeprc.spec.imports import checked_by

if TYPE_CHECKING:
    from mpi4py import MPI

    from deeprc.communicator import Communicator


def clean(comm: rc.Communicator, flights: str, weather: str = "none") -> str:
    return f"{flights} {weather} on {comm.size}"


def fit(data: Any, model: str, *, rate: float = 1e-3) -> str:
    return f"{model} of {data}"


def choose(fits: list[Any]) -> Any:
    return fits[0]


def hinted(data: int, comm: Communicator | None = None) -> int:
    return data


def two(first: rc.Communicator, second: rc.Communicator) -> None:
    return None


def anything(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def _even(arguments: dict[str, Any]) -> None:
    if arguments.get("number", 0) % 2:
        raise DataError("number has to be even")


def bare(comm, data=1):  # type: ignore[no-untyped-def]
    return comm.size * data


def of_mpi4py(comm: MPI.Comm, data: int) -> int:
    return data


@checked_by(_even)
def halve(number: int) -> int:
    return number // 2


VERSION = 1
