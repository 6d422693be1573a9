"""From a table of rivers to what the network reads: scaled windows of days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from deeprc.errors import DataError, valid_values
from deeprc.training.keras import Batches
from deeprc.workloads.hydrology.cleaning import every_day

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeprc.bridge import Dataset
    from deeprc.workloads.hydrology.setup import Periods, Setup


@dataclass(frozen=True)
class Scaling:
    """Means and standard deviations over the training period.

    Features and statics have one pair for all rivers. The target has one pair for each river, so that the
    mean squared error of the scaled target is 1 - NSE of the river, and large rivers do not drown small ones.
    With a shared scale all rivers have one pair, `others` included, which were not trained on; then `weights` of
    the squared errors do the same for each river (NSE* of Kratzert et al. 2019, doi:10.5194/hess-23-5089-2019).
    """

    columns: Mapping[str, tuple[float, float]]
    target: Mapping[str, tuple[float, float]]
    others: tuple[float, float] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Scaling:
        """A scaling from what its file keeps."""
        columns, target = ({name: tuple(pair) for name, pair in kept[part].items()} for part in ("columns", "target"))
        others = kept.get("others")
        return cls(columns, target, tuple(others) if others else None, kept.get("weights", {}))

    def of_river(self, basin: str) -> tuple[float, float]:
        """The pair of a river's target.

        Raises:
            DataError: the model was not trained on the river, and has no shared scale.
        """
        pair = self.target.get(basin, self.others)
        if pair is None:
            raise DataError(
                f"the model was not trained on {basin!r}, and scales each river by its own record; one trained with "
                f"scale='shared' takes others. {valid_values(basin, self.target, noun='river')}"
            )
        return pair


@dataclass(frozen=True)
class RiverSamples:
    """One river's days as the network reads them.

    `inputs` is (day, column) float32; `targets` is (day,), scaled, NaN where unknown; `days` are the
    positions that have a full window without a missing value; `weight` is that of each squared error.
    """

    basin: str
    dates: NDArray[np.datetime64]
    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    days: NDArray[np.int64]
    weight: float = 1.0


def fit_scaling(frame: pl.DataFrame, periods: Mapping[str, Periods], setup: Setup) -> Scaling:
    """Measure the scaling on the training period of each river.

    Raises:
        DataError: a column has no value there; or rivers shall be told apart by a column that is the same for all.
    """
    training = pl.concat(
        river.filter(pl.col("date") < periods[str(basin)].validation_from)
        for (basin,), river in frame.group_by("basin", maintain_order=True)
    )
    columns = {name: _mean_and_spread(training[name], name) for name in (*setup.features, *setup.static)}
    target = {
        str(basin): _mean_and_spread(river[setup.target], f"{setup.target} of {basin}")
        for (basin,), river in training.group_by("basin", maintain_order=True)
    }
    return _shared(training, columns, target, setup) if setup.scale == "shared" else Scaling(columns, target)


def _shared(
    training: pl.DataFrame,
    columns: Mapping[str, tuple[float, float]],
    target: Mapping[str, tuple[float, float]],
    setup: Setup,
) -> Scaling:
    for name in setup.static:
        if training[name].n_unique() == 1:
            raise DataError(
                f"static: all rivers trained on have the same {name}, from which nothing can be learned for others: "
                "leave it out of static=[...], or train on more rivers"
            )
    pair = _mean_and_spread(training[setup.target], setup.target)
    # A tenth keeps a river that hardly flows from outweighing all others.
    weights = {basin: (pair[1] / (spread + 0.1 * pair[1])) ** 2 for basin, (_, spread) in target.items()}
    return Scaling(columns, dict.fromkeys(target, pair), pair, weights)


def river_samples(frame: pl.DataFrame, scaling: Scaling, setup: Setup) -> list[RiverSamples]:
    """The samples of every river of the frame, in order of name."""
    return [
        _one_river(str(basin), every_day(river), scaling, setup)
        for (basin,), river in frame.sort("basin", "date").group_by("basin", maintain_order=True)
    ]


def windows(inputs: NDArray[np.float32], ends: NDArray[np.int64], lookback_days: int) -> NDArray[np.float32]:
    """The windows of `inputs` (day, column) that end on the days `ends`: (window, lookback, column)."""
    rows: NDArray[np.int64] = ends[:, None] + np.arange(1 - lookback_days, 1)
    taken: NDArray[np.float32] = inputs[rows]
    return taken


def sample_batches(
    rivers: Sequence[RiverSamples],
    periods: Mapping[str, tuple[date, date]],
    setup: Setup,
    seed: int | None = None,
) -> Batches:
    """Windows of all rivers that end on a day with a target in [from, until) of the river, numbered through.

    The targets are (window, 2): the target and the weight of its squared error.

    Raises:
        DataError: there is none.
    """
    inputs = np.concatenate([river.inputs for river in rivers])
    targets = np.concatenate([_weighted(river) for river in rivers])
    starts = np.cumsum([0, *(len(river.inputs) for river in rivers)])
    # A river's days have full windows of its own, so none reaches into the river before it.
    ends = np.concatenate(
        [start + _days_within(river, *periods[river.basin]) for start, river in zip(starts, rivers, strict=False)]
    )
    if not ends.size:
        raise DataError(
            f"no window of {setup.lookback_days} days without a missing value in the training or validation "
            "period; choose a shorter lookback_days, or features with fewer gaps"
        )

    def take(indices: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = ends[indices]
        return windows(inputs, chosen, setup.lookback_days), targets[chosen]

    return Batches(take, len(ends), setup.batch_size, seed)


def weighted_squares(targets: Any, predictions: Any) -> Any:
    """The loss of each window: (batch, 2) of target and weight, and (batch, 1), to (batch,)."""
    squares: Any = targets[:, 1] * (targets[:, 0] - predictions[:, 0]) ** 2
    return squares


def _weighted(river: RiverSamples) -> NDArray[np.float32]:
    return np.stack([river.targets, np.full_like(river.targets, river.weight)], axis=1)


def checked_frame(data: Dataset | pl.DataFrame, setup: Setup, *, target_known: bool = True) -> pl.DataFrame:
    """The data as a frame; where the target need not be known, a frame without it gets a column of nulls.

    Raises:
        DataError: a column that the setup names is missing.
    """
    frame = data if isinstance(data, pl.DataFrame) else data.to_polars()
    if not target_known and setup.target not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.Float64).alias(setup.target))
    for name in ("basin", "date", setup.target, *setup.features, *setup.static):
        if name not in frame.columns:
            raise DataError(f"the data have no column {name!r}. {valid_values(name, frame.columns, noun='column')}")
    return frame


def note_scaled(data: Dataset | pl.DataFrame, rivers: Sequence[RiverSamples], setup: Setup) -> None:
    """Enter into the ledger of a dataset the scaled arrays that `river_samples` made of it."""
    if not isinstance(data, pl.DataFrame):
        size = 4 * sum(len(river.inputs) for river in rivers)
        columns = dict.fromkeys((*setup.features, *setup.static, setup.target), size)
        data.note_copies(columns, to="tensorflow", reason="the network reads scaled values in float32")


def _days_within(river: RiverSamples, start: date, until: date) -> NDArray[np.int64]:
    """Positions with a full window and a target, from `start` to the day before `until`."""
    ends = river.dates[river.days]
    within = (ends >= np.datetime64(start)) & (ends < np.datetime64(until))
    return river.days[within & ~np.isnan(river.targets[river.days])]


def _one_river(basin: str, river: pl.DataFrame, scaling: Scaling, setup: Setup) -> RiverSamples:
    target = _scaled(setup.target, scaling.of_river(basin))
    columns = [_scaled(name, scaling.columns[name]).alias(name) for name in (*setup.features, *setup.static)]
    if setup.lead_days:
        columns.append(target.shift(setup.lead_days).alias("observed before"))
    inputs = river.select(columns).to_numpy().astype(np.float32)
    targets = river.select(target).to_series().to_numpy().astype(np.float32)
    days = _days_with_full_window(inputs, setup.lookback_days)
    return RiverSamples(basin, river["date"].to_numpy(), inputs, targets, days, scaling.weights.get(basin, 1.0))


def _days_with_full_window(inputs: NDArray[np.float32], lookback_days: int) -> NDArray[np.int64]:
    """Positions whose last `lookback_days` rows, themselves included, hold no NaN."""
    incomplete = np.concatenate([[0], np.cumsum(np.isnan(inputs).any(axis=1))])
    ends = np.arange(lookback_days, len(inputs) + 1)
    full = incomplete[ends] == incomplete[ends - lookback_days]
    days: NDArray[np.int64] = ends[full] - 1
    return days


def _scaled(column: str, scale: tuple[float, float]) -> pl.Expr:
    mean, spread = scale
    return (pl.col(column).cast(pl.Float64) - mean) / spread


def _mean_and_spread(values: pl.Series, name: str) -> tuple[float, float]:
    """Mean and standard deviation; 1 for a column that is the same everywhere."""
    mean, spread = values.cast(pl.Float64).mean(), values.cast(pl.Float64).std(ddof=0)
    if not isinstance(mean, float) or not isinstance(spread, float) or not np.isfinite(mean + spread):
        raise DataError(f"{name} has no (finite) value in the training period")
    return mean, spread if spread > 0 else 1.0
