"""Windows over time series: what a rank trains on, cut from the mapped columns batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from deeprc.bridge.arrays import numpy_columns
from deeprc.bridge.columns import Converted
from deeprc.bridge.ledger import LedgerEntry, Target
from deeprc.bridge.order import Indices, epoch_order, num_batches, rank_batches, rank_share
from deeprc.bridge.stretches import Stretches, longest_stretch, stretches, window_starts
from deeprc.errors import DataError, valid_values

if TYPE_CHECKING:
    import tensorflow as tf
    import torch.utils.data

    from deeprc.bridge.dataset import Dataset

Batch = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class WindowSpec:
    """The arguments of `Dataset.windows`, checked for what can be checked without data."""

    target: str
    lookback: int
    horizon: int
    features: tuple[str, ...]
    by: tuple[str, ...]
    time: str | None
    stride: int
    rank: int
    size: int
    dtype: str

    def __post_init__(self) -> None:
        for name in ("lookback", "horizon", "stride", "size"):
            if not isinstance(value := getattr(self, name), Integral) or value < 1:
                raise DataError(f"{name} must be a whole number, 1 or more, not {value!r}")
        if not 0 <= self.rank < self.size:
            raise DataError(f"rank {self.rank} is none of the {self.size} ranks 0 to {self.size - 1}")
        if self.dtype not in ("float32", "float64"):
            raise DataError(
                f"unknown dtype {self.dtype!r}. {valid_values(self.dtype, ['float32', 'float64'], noun='dtype')}"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.features or (self.target,)

    def check_columns(self, schema: pl.Schema) -> None:
        """Refuse columns that do not exist or cannot play their part.

        Raises:
            DataError: with the valid names.
        """
        numeric = [name for name, dtype in schema.items() if _is_numeric(dtype)]
        ordered = [name for name, dtype in schema.items() if dtype.is_integer() or dtype.is_temporal()]
        uses = [("target", self.target, numeric)]
        uses += [("feature", name, numeric) for name in self.features]
        uses += [("by", name, list(schema)) for name in self.by]
        uses += [("time", self.time, ordered)] if self.time is not None else []
        for role, name, valid in uses:
            if name not in valid:
                what = f"no column {name!r}" if name not in schema else f"column {name!r} is {schema[name]}"
                raise DataError(f"{role}: {what}. {valid_values(name, valid, noun=f'{role} column')}")


class Windows:
    """This rank's windows; made by `Dataset.windows`.

    The series stay where they are; a batch is gathered from sliding views of them when it is asked for.

    Attributes:
        starts: first row of every window of all ranks, in row order: (window,).
        input_shape: (lookback, feature) of one window.
        target_shape: (horizon,) of one window.
    """

    def __init__(self, dataset: Dataset, spec: WindowSpec) -> None:
        schema = dataset.schema
        spec.check_columns(schema)
        self._dataset = dataset
        self.spec = spec
        names = list(dict.fromkeys([*spec.inputs, spec.target]))
        found = stretches(_keys(dataset, spec), spec.by, spec.time)
        columns = {
            name: _ordered(column, found) for name, column in numpy_columns(dataset.parts, names, schema).items()
        }
        self._series = {name: array for name, (array, _) in columns.items()}
        self.starts = self._find(found.begins)
        self.input_shape = (spec.lookback, len(spec.inputs))
        self.target_shape = (spec.horizon,)
        dataset._ledger.add(
            LedgerEntry(name, "numpy", "copied" if reason else "shared", array.nbytes, reason)
            for name, (array, reason) in columns.items()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """By reference: a loader's worker process maps the files itself."""
        return Windows, (self._dataset, self.spec)

    def __len__(self) -> int:
        """Windows of this rank, as many as every other rank has; up to `size - 1` at the end go to none."""
        return len(self.starts) // self.spec.size

    def __repr__(self) -> str:
        return (
            f"Windows({len(self)} of {len(self.starts)}, input {self.input_shape}, target {self.target_shape}, "
            f"rank {self.spec.rank} of {self.spec.size})"
        )

    def __getitem__(self, index: int) -> Batch:
        """Window `index` of this rank in row order: (lookback, feature) and (horizon,)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        inputs, targets = self.gather(rank_share(len(self.starts), self.spec.rank, self.spec.size)[[index]])
        return inputs[0], targets[0]

    def gather(self, windows: Indices) -> Batch:
        """Windows by their number among those of all ranks: (batch, lookback, feature) and (batch, horizon)."""
        spec, starts = self.spec, self.starts[windows]
        inputs = np.empty((len(starts), *self.input_shape), spec.dtype)
        for position, name in enumerate(spec.inputs):
            inputs[:, :, position] = sliding_window_view(self._series[name], spec.lookback)[starts]
        targets = sliding_window_view(self._series[spec.target], spec.horizon)[starts + spec.lookback]
        return inputs, targets.astype(spec.dtype)

    def num_batches(self, batch_size_global: int, *, drop_last: bool = True) -> int:
        """Batches of one epoch, the same for every rank.

        Raises:
            DataError: see `batches`.
        """
        return num_batches(len(self.starts), batch_size_global, self.spec.size, drop_last)

    def batches(
        self, batch_size_global: int, *, seed: int | None = 0, epoch: int = 0, drop_last: bool = True
    ) -> Iterator[Batch]:
        """This rank's slice of each global batch of one epoch.

        A global batch holds the same windows for any number of ranks, so N ranks that average their gradients
        train as one does. `drop_last=False` (for evaluation) keeps the rest as a smaller batch, of which up to
        `size - 1` windows are dropped so that all ranks have as many.

        Args:
            batch_size_global: windows of all ranks together in one batch.
            seed: of the shuffle, together with `epoch`; None keeps the row order.

        Yields:
            (batch, lookback, feature) and (batch, horizon), batch = batch_size_global / size.

        Raises:
            DataError: the batch is not a multiple of the number of ranks, or larger than all windows.
        """
        self.num_batches(batch_size_global, drop_last=drop_last)
        return (self.gather(mine) for mine in self.batch_indices(batch_size_global, seed, epoch, drop_last))

    def batch_indices(
        self, batch_size_global: int, seed: int | None, epoch: int, drop_last: bool = True
    ) -> Iterator[Indices]:
        """The windows of each of this rank's batches, by number: what `gather` takes."""
        order = epoch_order(len(self.starts), seed, epoch)
        return rank_batches(order, batch_size_global, self.spec.rank, self.spec.size, drop_last)

    def to_torch(self) -> torch.utils.data.Dataset[Any]:
        """A map-style dataset of this rank's windows, in row order; items are pairs of tensors.

        Raises:
            MissingDependencyError: torch is not installed.
        """
        from deeprc.bridge.torch_windows import window_dataset

        self._note("torch")
        return window_dataset(self)

    def to_torch_loader(
        self, batch_size_global: int, *, seed: int | None = 0, drop_last: bool = True, num_workers: int = 0
    ) -> torch.utils.data.DataLoader[Any]:
        """A DataLoader of the batches of `batches`, as tensors; each pass is the next epoch.

        `loader.batch_sampler.set_epoch(n)` chooses another. With Lightning, pass
        `Trainer(use_distributed_sampler=False)`: the windows are split over the ranks already.

        Raises:
            DataError: see `batches`.
            MissingDependencyError: torch is not installed.
        """
        from deeprc.bridge.torch_windows import window_loader

        self.num_batches(batch_size_global, drop_last=drop_last)
        self._note("torch")
        return window_loader(self, batch_size_global, seed, drop_last, num_workers)

    def to_tf(self, batch_size_global: int, *, seed: int | None = 0, drop_last: bool = True) -> tf.data.Dataset:
        """A `tf.data.Dataset` of the batches of `batches`; each pass over it is the next epoch.

        Raises:
            DataError: see `batches`.
            MissingDependencyError: tensorflow is not installed.
        """
        from deeprc.bridge.tf_windows import window_dataset

        self.num_batches(batch_size_global, drop_last=drop_last)
        self._note("tensorflow")
        return window_dataset(self, batch_size_global, seed, drop_last)

    def _find(self, begins: NDArray[np.bool_]) -> Indices:
        spec = self.spec
        missing_target = _missing(self._series[spec.target])
        missing_feature = np.logical_or.reduce([_missing(self._series[name]) for name in spec.inputs])
        starts = window_starts(begins, spec.lookback, spec.horizon, spec.stride, missing_feature, missing_target)
        if len(starts) < spec.size:
            longest, length = longest_stretch(begins, missing_feature | missing_target), spec.lookback + spec.horizon
            raise DataError(
                f"{len(starts)} windows, too few for {spec.size} rank{'s' * (spec.size > 1)}: a window needs "
                f"{spec.lookback} + {spec.horizon} = {length} rows in a row; the longest stretch without a gap or a "
                f"missing value has {longest} of the {len(begins)} rows. Shorten lookback or horizon, fill the gaps, "
                "or use fewer ranks"
            )
        return starts

    def _note(self, to: Target) -> None:
        """Tell the ledger that batches are copies; bytes are those of one pass of this rank."""
        spec, item = self.spec, np.dtype(self.spec.dtype).itemsize
        rows = dict.fromkeys(self._series, 0)
        for name in spec.inputs:
            rows[name] += spec.lookback
        rows[spec.target] += spec.horizon
        reason = "windows overlap, so each batch is gathered from the series"
        self._dataset._ledger.add(
            LedgerEntry(name, to, "copied", len(self) * count * item, reason) for name, count in rows.items()
        )


def _is_numeric(dtype: pl.DataType) -> bool:
    return bool((dtype.is_numeric() and dtype not in (pl.Int128, pl.UInt128)) or dtype == pl.Boolean)


def _keys(dataset: Dataset, spec: WindowSpec) -> pl.DataFrame:
    """The columns that order rows; without any, the number of rows is all there is to know."""
    names = list(dict.fromkeys([*spec.by, *([spec.time] if spec.time else [])]))
    if not names:
        return pl.DataFrame({"": np.zeros(dataset.num_rows, np.bool_)})
    return dataset.to_polars(names)


def _ordered(column: Converted, found: Stretches) -> Converted:
    array, reason = column
    if found.order is None:
        return array, reason
    return array[found.order], reason or "its rows are not in the order of series and time"


def _missing(series: NDArray[Any]) -> NDArray[np.bool_]:
    """Nulls have become NaN; whole numbers and booleans have none."""
    return np.isnan(series) if np.issubdtype(series.dtype, np.floating) else np.zeros(len(series), np.bool_)
