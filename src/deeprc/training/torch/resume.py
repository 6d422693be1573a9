"""Lightning trainings that a task may stop, and go on with later."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch

from deeprc.communicator import Communicator
from deeprc.errors import TaskStoppedError
from deeprc.training.torch.batches import StepSampler
from deeprc.workspace import checkpoint_part, stopping

_EVERY_S = 60.0
# Asking all ranks costs about as much as a small step.
_ASK_EVERY_STEPS = 8


class RankTrainer(lightning.Trainer):
    """Lightning's trainer, whose `fit` goes on from the checkpoint that an earlier attempt at its task has left."""

    def __init__(self, checkpoint: Path | None, **options: Any) -> None:
        super().__init__(**options)
        self._checkpoint = checkpoint

    def fit(self, model: Any, train_dataloaders: Any = None, *args: Any, **options: Any) -> None:
        """As Lightning's; a `ckpt_path` of the caller's own counts only where there is no such checkpoint."""
        if self._checkpoint is not None and self._checkpoint.exists():
            # Of our own making, so it may hold any object.
            options |= {"ckpt_path": self._checkpoint, "weights_only": False}
            sampler = _step_sampler(train_dataloaders)
            if sampler is not None:
                loops = torch.load(self._checkpoint, weights_only=False, mmap=True)["loops"]
                sampler.start = loops["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"]
        super().fit(model, train_dataloaders, *args, **options)


class StopsInTime(lightning.Callback):
    """Writes a checkpoint once a minute, and when the run stops, and then leaves. Collective.

    With a `StepSampler`, which can begin at any step, after every eighth step; else after the last of an epoch.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._part = checkpoint_part()
        self._saved_s = time.monotonic()

    @property
    def path(self) -> Path | None:
        """The checkpoint, if there is one; None outside a run."""
        return self._part / "last.ckpt" if self._part else None

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        if self.path is None:
            return
        asked = trainer.global_step % _ASK_EVERY_STEPS == 0 and _step_sampler(trainer.train_dataloader) is not None
        # Not at the end of the epoch itself: Lightning does not go on rightly from there.
        if asked or trainer.is_last_batch:
            self._keep(trainer, self.path)

    def _keep(self, trainer: lightning.Trainer, path: Path) -> None:
        stops = stopping(self._comm)
        # All ranks or none: by the clock of rank 0.
        if stops or self._comm.broadcast(time.monotonic() - self._saved_s > _EVERY_S):
            # Whole or not at all, and on return there for all ranks.
            trainer.save_checkpoint(path)
            self._saved_s = time.monotonic()
        if stops:
            raise TaskStoppedError(f"after {trainer.global_step} training steps")


def _step_sampler(loader: Any) -> StepSampler | None:
    sampler = getattr(loader, "sampler", None)
    return sampler if isinstance(sampler, StepSampler) else None
