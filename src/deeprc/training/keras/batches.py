"""Global batches whose samples do not depend on the number of ranks, and each rank's share of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Sample = tuple[Any, Any]


@dataclass(frozen=True)
class Batches:
    """Samples by number, in global batches.

    Which samples a global batch holds follows from `seed` and the epoch alone; ranks take consecutive slices
    of it whose lengths differ by one at most. So N ranks see in each step what one rank would see.

    `take(indices)` returns (inputs, targets) of these samples as arrays whose first axis is the sample;
    `seed` None keeps the samples in order, else each epoch shuffles them anew. `batch_size` counts the
    samples of all ranks; the last batch of an epoch may be smaller.
    """

    take: Callable[[NDArray[np.int64]], Sample]
    num_samples: int
    batch_size: int
    seed: int | None = None

    @classmethod
    def of(cls, inputs: NDArray[Any], targets: NDArray[Any], batch_size: int, seed: int | None = None) -> Batches:
        """Batches of arrays: inputs (sample, ...), targets (sample, ...)."""
        return cls(lambda indices: (inputs[indices], targets[indices]), len(inputs), batch_size, seed)

    def share(self, epoch: int, rank: int, size: int) -> Iterator[Sample]:
        """Yield this rank's slice of every global batch, an empty one included."""
        order = np.arange(self.num_samples, dtype=np.int64)
        if self.seed is not None:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        for start in range(0, self.num_samples, self.batch_size):
            batch = order[start : start + self.batch_size]
            yield self.take(np.array_split(batch, size)[rank])
