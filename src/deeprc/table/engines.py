"""Which of Polars' engines computes a rank's part of a stage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import polars as pl

from deeprc.errors import ResourceError, SpecError, valid_values
from deeprc.spec.engine import require_gpu_engine

if TYPE_CHECKING:
    from polars._typing import EngineType

Engine = Literal["streaming", "in-memory", "gpu"]
current: ContextVar[Engine] = ContextVar("engine", default="streaming")


@contextmanager
def computing_with(engine: Engine) -> Iterator[None]:
    """Stages computed inside are handed to this engine."""
    token = current.set(engine)
    try:
        yield
    finally:
        current.reset(token)


def check_engine(engine: Engine) -> None:
    """Before anything runs.

    Raises:
        SpecError: there is no such engine.
        ResourceError, MissingDependencyError: "gpu", and this rank sees no GPU, or Polars' engine is not installed.
    """
    if engine not in get_args(Engine):
        raise SpecError(f"unknown engine={engine!r}. {valid_values(str(engine), get_args(Engine), noun='engine')}")
    if engine == "gpu":
        _check_gpu()


def _check_gpu() -> None:
    if not any(Path("/dev").glob("nvidia[0-9]*")) or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        raise ResourceError(
            'engine="gpu" needs an NVIDIA GPU that this rank sees: submit the task with gpus=1 on an allocation that '
            'has them, or leave out engine="gpu"'
        )
    require_gpu_engine()


def polars_engine() -> EngineType:
    """The engine in Polars' words. What its GPU engine cannot do it computes on CPUs."""
    engine = current.get()
    return pl.GPUEngine() if engine == "gpu" else engine
