"""Which windows which rank trains on, and in which order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deeprc.errors import DataError

Indices = NDArray[np.int64]


def rank_share(total: int, rank: int, size: int) -> Indices:
    """Windows of `rank`, one block of the row order; the last `total % size` windows go to no rank."""
    each = total // size
    return np.arange(rank * each, (rank + 1) * each)


def epoch_order(total: int, seed: int | None, epoch: int) -> Indices:
    """The order of all windows in an epoch, the same on every rank; row order with no seed."""
    if seed is None:
        return np.arange(total)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch]))).permutation(total)


def num_batches(total: int, batch_size_global: int, size: int, drop_last: bool) -> int:
    """Batches of an epoch, the same for every rank.

    Raises:
        DataError: the batch cannot be split evenly over the ranks, or there are too few windows for one.
    """
    if batch_size_global < 1 or batch_size_global % size:
        raise DataError(
            f"the global batch of {batch_size_global} windows cannot be split evenly over {size} ranks; "
            f"make it a multiple of {size}"
        )
    whole, rest = divmod(total, batch_size_global)
    count = whole if drop_last else whole + (rest >= size)
    if count == 0:
        hint = " or pass drop_last=False" if drop_last else ""
        raise DataError(
            f"there are {total} windows on all ranks, too few for one batch of {batch_size_global}; take a smaller "
            f"batch{hint}"
        )
    return count


def rank_batches(order: Indices, batch_size_global: int, rank: int, size: int, drop_last: bool) -> Iterator[Indices]:
    """This rank's slice of each global batch.

    Global batch k is `order[k * B : (k + 1) * B]` for any number of ranks, and rank r has the r-th of its
    `size` equal slices. The rest that fills no batch is dropped; with `drop_last=False` it is a smaller batch,
    without the at most `size - 1` windows that cannot be split evenly.
    """
    for batch in range(num_batches(len(order), batch_size_global, size, drop_last)):
        windows = order[batch * batch_size_global : (batch + 1) * batch_size_global]
        each = len(windows) // size
        yield windows[rank * each : (rank + 1) * each]
