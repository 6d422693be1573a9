"""Training windows as NeuralForecast's batches: cut here, so that a batch is what the ranks agreed on.

NeuralForecast itself draws windows at random within each rank, from copies of whole series; neither the draw
nor its cost would be the same on two ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = pd.Index(["y", "available_mask"])


def as_batch(values: torch.Tensor) -> dict[str, Any]:
    """Values (rows of a batch, time) as NeuralForecast takes them: (rows, [y, mask], time)."""
    temporal = torch.stack([values, torch.ones_like(values)], dim=1)
    return {"temporal": temporal, "temporal_cols": COLUMNS, "y_idx": 0}


class SeriesWindows(Dataset[dict[str, Any]]):
    """Every window of `length` rows within one series; takes a list of window numbers, gives their batch."""

    def __init__(self, series: Sequence[NDArray[np.float64]], length: int) -> None:
        self._rows = torch.from_numpy(np.concatenate(series).astype(np.float32)).unfold(0, length, 1)
        offsets = np.cumsum([0, *(len(each) for each in series[:-1])])
        starts = [offset + np.arange(len(each) - length + 1) for offset, each in zip(offsets, series, strict=True)]
        self._starts = torch.from_numpy(np.concatenate(starts))

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, numbers: list[int]) -> dict[str, Any]:
        return as_batch(self._rows[self._starts[numbers]])


class PanelWindows(Dataset[dict[str, Any]]):
    """Every window of `length` rows over all series at once, for models that read them together.

    `series` are of one length. The windows of a batch lie end to end: (series, [y, mask], windows * length).
    """

    def __init__(self, series: Sequence[NDArray[np.float64]], length: int) -> None:
        self._rows = torch.from_numpy(np.stack(series).astype(np.float32)).unfold(1, length, 1)

    def __len__(self) -> int:
        return self._rows.shape[1]

    def __getitem__(self, numbers: list[int]) -> dict[str, Any]:
        return as_batch(self._rows[:, numbers].flatten(1))
