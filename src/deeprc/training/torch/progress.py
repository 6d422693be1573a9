"""Training steps in the run's journal."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as lightning

from deeprc import journal

_SECONDS_BETWEEN = 0.5


class JournalProgress(lightning.Callback):
    """Report rank 0's training steps, at most two a second."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        total = trainer.estimated_stepping_batches
        if trainer.global_rank == 0 and (trainer.global_step >= total or time.monotonic() >= self._next_s):
            self._next_s = time.monotonic() + _SECONDS_BETWEEN
            journal.progress(trainer.global_step, total, "training steps")
