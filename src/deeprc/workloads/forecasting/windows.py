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


def columns(names: Sequence[str]) -> pd.Index[str]:
    """The channels of a batch: y, what is beside it, and whether the row is there."""
    return pd.Index(["y", *names, "available_mask"])


def as_batch(values: torch.Tensor, names: Sequence[str] = ()) -> dict[str, Any]:
    """Values (rows of a batch, [y, *names], time) as NeuralForecast takes them: (rows, [y, *names, mask], time)."""
    temporal = torch.cat([values, torch.ones_like(values[:, :1])], dim=1)
    return {"temporal": temporal, "temporal_cols": columns(names), "y_idx": 0}


class SeriesWindows(Dataset[dict[str, Any]]):
    """Every window of `length` rows within one series; takes a list of window numbers, gives their batch.

    `series` are (rows, [y, *names]) each; `static` is (series, static_names).
    """

    def __init__(
        self,
        series: Sequence[NDArray[np.float64]],
        length: int,
        names: Sequence[str] = (),
        static: NDArray[np.float64] | None = None,
        static_names: Sequence[str] = (),
    ) -> None:
        self._rows = torch.from_numpy(np.concatenate(series).astype(np.float32)).unfold(0, length, 1)
        offsets = np.cumsum([0, *(len(each) for each in series[:-1])])
        counts = [len(each) - length + 1 for each in series]
        starts = [offset + np.arange(count) for offset, count in zip(offsets, counts, strict=True)]
        self._starts = torch.from_numpy(np.concatenate(starts))
        self._names, self._static_names = names, pd.Index(list(static_names))
        self._static = torch.tensor(static, dtype=torch.float32) if static is not None and static_names else None
        self._series = torch.from_numpy(np.repeat(np.arange(len(series)), counts))

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, numbers: list[int]) -> dict[str, Any]:
        batch = as_batch(self._rows[self._starts[numbers]], self._names)
        if self._static is None:
            return batch
        return {**batch, "static": self._static[self._series[numbers]], "static_cols": self._static_names}


class PanelWindows(Dataset[dict[str, Any]]):
    """Every window of `length` rows over all series at once, for models that read them together.

    `series` are of one length, (rows, [y, *names]) each. The windows of a batch lie end to end:
    (series, [y, *names, mask], windows * length).
    """

    def __init__(self, series: Sequence[NDArray[np.float64]], length: int, names: Sequence[str] = ()) -> None:
        stacked = np.stack([each.T for each in series]).astype(np.float32)
        self._rows = torch.from_numpy(stacked).unfold(2, length, 1)
        self._names = names

    def __len__(self) -> int:
        return self._rows.shape[2]

    def __getitem__(self, numbers: list[int]) -> dict[str, Any]:
        return as_batch(self._rows[:, :, numbers].flatten(2), self._names)
