"""Batches that do not depend on how many ranks share them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from deeprc.errors import SpecError


class StepSampler(Sampler[list[int]]):
    """One list of sample numbers for each training step: this rank's share of that step's global batch.

    The global batches follow from `seed` alone: shuffled passes over the samples, one after another, cut every
    `batch_size_global`. Every rank gets the same number of each, so the mean of the ranks' gradients is the gradient
    of the global batch's mean loss, and training on N ranks equals training on one up to rounding.

    Use as `DataLoader(dataset, sampler=StepSampler(...), batch_size=None)`, with a dataset that takes a list of
    sample numbers, and `trainer(comm, use_distributed_sampler=False)`.

    Raises:
        SpecError: the batch cannot be split evenly over the ranks.
    """

    def __init__(
        self, num_samples: int, *, batch_size_global: int, steps: int, seed: int, rank: int = 0, size: int = 1
    ) -> None:
        if batch_size_global % size:
            below = batch_size_global // size * size
            raise SpecError(
                f"a batch of {batch_size_global} cannot be split evenly over {size} ranks; "
                f"use {' or '.join(str(fits) for fits in (below, below + size) if fits)}"
            )
        if num_samples < 1:
            raise SpecError("there is no sample to train on")
        self.num_samples, self.batch_size_global = num_samples, batch_size_global
        self.steps, self.seed = steps, seed
        self.rank, self.size = rank, size
        # The step that the next pass begins with: one that was cut off goes on there.
        self.start = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed)
        ahead: list[int] = []
        start, self.start = self.start, 0
        for step in range(self.steps):
            while len(ahead) < self.batch_size_global:
                ahead += torch.randperm(self.num_samples, generator=generator).tolist()
            batch, ahead = ahead[: self.batch_size_global], ahead[self.batch_size_global :]
            if step >= start:
                yield batch[self.rank :: self.size]
