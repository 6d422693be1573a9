"""Windows for PyTorch. Imported when first used, since it imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from deeprc.bridge.arrays import needs

with needs("torch"):
    import torch
    from torch.utils.data import DataLoader, Dataset, Sampler

if TYPE_CHECKING:
    from deeprc.bridge.windows import Batch, Windows

Pair = tuple[torch.Tensor, torch.Tensor]


class WindowItems(Dataset[Pair]):
    """This rank's windows one by one: (lookback, feature) and (horizon,)."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Pair:
        return _tensors(self._windows[index])


class WindowBatches(Dataset[Pair]):
    """Windows by their numbers among those of all ranks: an item is a whole batch."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows.starts)

    def __getitems__(self, indices: Any) -> Pair:
        return _tensors(self._windows.gather(indices))


class EpochSampler(Sampler[Any]):
    """This rank's slice of each global batch, in the order of the epoch; each pass goes on to the next."""

    def __init__(self, windows: Windows, batch_size_global: int, seed: int | None, drop_last: bool) -> None:
        self._windows = windows
        self._batch_size_global = batch_size_global
        self._seed = seed
        self._drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self._windows.num_batches(self._batch_size_global, drop_last=self._drop_last)

    def __iter__(self) -> Iterator[Any]:
        # A generator, since a DataLoader with workers asks for two iterators in a pass and reads from one.
        epoch, self.epoch = self.epoch, self.epoch + 1
        yield from self._windows.batch_indices(self._batch_size_global, self._seed, epoch, self._drop_last)


def window_dataset(windows: Windows) -> WindowItems:
    return WindowItems(windows)


def window_loader(
    windows: Windows, batch_size_global: int, seed: int | None, drop_last: bool, num_workers: int
) -> DataLoader[Any]:
    sampler = EpochSampler(windows, batch_size_global, seed, drop_last)
    return DataLoader(WindowBatches(windows), batch_sampler=sampler, collate_fn=_as_it_is, num_workers=num_workers)


def _as_it_is(batch: Any) -> Any:
    """`__getitems__` has made the batch already."""
    return batch


def _tensors(batch: Batch) -> Pair:
    inputs, targets = batch
    return torch.from_numpy(inputs), torch.from_numpy(targets)
