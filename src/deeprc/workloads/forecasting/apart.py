"""What the libraries do to a process stays within one fit or forecast."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOUD = ("pytorch_lightning", "lightning_fabric", "lightning_utilities")
_SEEDS = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")


@contextmanager
def apart() -> Iterator[None]:
    """Keep what the libraries do to the process within the block: a warm rank goes on to other tasks.

    Lightning's advice and announcements stay out of the task's output, its errors do not. The seed that
    NeuralForecast leaves in the environment would give ranks with different pasts different shuffles.
    """
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    seeds = {name: os.environ.get(name) for name in _SEEDS}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch)\b")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            for name, seed in seeds.items():
                os.environ.pop(name, None)
                if seed is not None:
                    os.environ[name] = seed
