"""From the cores and GPUs that the scheduler counts to those that a node has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CORES_VARIABLE = "DEEPRC_CORES"
"""Where a pilot tells an agent which cores its node stands for: "0,1,5"; empty to pin nothing."""


def real_cores(count: int, environment: Mapping[str, str] = os.environ) -> tuple[int, ...]:
    """The cores behind 0..count-1, or none if ranks share them and are not to be pinned.

    Without word from the pilot they are those that this process may use, if there are exactly as many.
    """
    told = environment.get(CORES_VARIABLE)
    cores = sorted(os.sched_getaffinity(0)) if told is None else [int(core) for core in told.split(",") if core]
    return tuple(cores) if len(cores) == count else ()


def real_gpus(numbers: tuple[int, ...], environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """What CUDA calls the GPUs of those numbers: a batch system may have given this node others than the first."""
    if not numbers:
        return ()
    visible = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple(visible[number] if number < len(visible) else str(number) for number in numbers)


def pin(cores: tuple[int, ...]) -> None:
    """Keep this process on some cores: all its threads, since a warm one has those of earlier tasks."""
    if not cores or os.sched_getaffinity(0) == set(cores):
        return
    for thread in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except ProcessLookupError:
            continue
