"""One LSTM for all rivers of a data set, which learns what they share and, by static attributes, where they
differ (Kratzert et al. 2019, doi:10.5194/hess-23-5089-2019; observed discharge as an input as in Nearing et
al. 2022, doi:10.5194/hess-26-5493-2022).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from deeprc.errors import DataError
from deeprc.training.keras import Epoch, load_keras, load_model
from deeprc.workloads.hydrology.samples import (
    RiverSamples,
    Scaling,
    checked_frame,
    note_scaled,
    river_samples,
    windows,
)
from deeprc.workloads.hydrology.setup import Periods, Setup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeprc.bridge import Dataset

PREDICTION_BATCH = 1024


@dataclass(frozen=True)
class RiverModel:
    """A trained model by reference: the file of its weights, and what is needed to use them again."""

    weights: str
    setup: Setup
    scaling: Scaling
    periods: Mapping[str, Periods]
    epochs: tuple[Epoch, ...]
    best_epoch: int

    def __str__(self) -> str:
        return f"river model of {', '.join(self.periods)}: best of {len(self.epochs)} epochs was {self.best_epoch}"

    @classmethod
    def open(cls, weights: str | Path) -> RiverModel:
        """The model whose weights are in a `.keras` file; what else it is lies beside it, in `.keras.json`.

        Raises:
            DataError: that description is absent or of something else.
        """
        path = Path(f"{weights}.json")
        try:
            kept = json.loads(path.read_text())
            return cls(
                str(weights),
                Setup(**kept["setup"]),
                Scaling.of(kept["scaling"]),
                {basin: _periods(days) for basin, days in kept["periods"].items()},
                tuple(Epoch(**epoch) for epoch in kept["epochs"]),
                kept["best_epoch"],
            )
        except OSError as error:
            raise DataError(f"{path}: no description of a river model can be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: is not the description of a river model ({error})") from error

    def describe(self) -> None:
        """Write what `open` reads."""
        path = Path(f"{self.weights}.json")
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), default=str, indent=1))
        temporary.replace(path)

    def predict(self, data: Dataset | pl.DataFrame) -> pl.DataFrame:
        """Discharge of every day that has a full window.

        Returns:
            basin, date, LSTM; in the target's unit, never negative, sorted by basin and date.

        Raises:
            DataError: a missing column (if `lead_days` is 0, the target may be), no weights in its file, or a river
                that the model, with a scale by river, was not trained on.
        """
        frame = checked_frame(data, self.setup, target_known=self.setup.lead_days > 0)
        network = load_model(self.weights)
        parts = []
        rivers = river_samples(frame, self.scaling, self.setup)
        note_scaled(data, rivers, self.setup)
        for river in rivers:
            mean, spread = self.scaling.of_river(river.basin)
            scaled = _simulated(network, river, self.setup.lookback_days)
            discharge = np.maximum(scaled.astype(np.float64) * spread + mean, 0.0)
            dates = river.dates[river.days]
            parts.append(pl.DataFrame({"date": dates, "LSTM": discharge}).with_columns(basin=pl.lit(river.basin)))
        return pl.concat(parts).select("basin", "date", "LSTM")


def _simulated(network: Any, river: RiverSamples, lookback_days: int) -> NDArray[np.float32]:
    """Scaled discharge of the river's days. Not `network.predict`, which builds a pipeline anew for each river."""
    batches = [
        network.predict_on_batch(windows(river.inputs, river.days[start : start + PREDICTION_BATCH], lookback_days))
        for start in range(0, len(river.days), PREDICTION_BATCH)
    ]
    return np.concatenate([np.empty((0, 1), np.float32), *batches])[:, 0]


def _periods(days: Mapping[str, str]) -> Periods:
    return Periods(**{name: date.fromisoformat(day) for name, day in days.items()})


def build_network(num_columns: int, setup: Setup) -> Any:
    """(batch, lookback, column) to (batch, 1): an LSTM whose last state is read by one linear unit.

    A forecast starts from persistence: the network learns what to add to the last observed discharge, which is
    the last column of the last day, so that even few epochs are not worse than that baseline.
    """
    _, keras = load_keras()
    initial, seed = keras.initializers, setup.seed
    days = keras.Input((setup.lookback_days, num_columns), name="days")
    state = keras.layers.LSTM(
        setup.hidden_units,
        kernel_initializer=initial.GlorotUniform(seed),
        recurrent_initializer=initial.Orthogonal(seed=seed + 1),
        name="lstm",
    )(days)
    if setup.dropout:
        state = keras.layers.Dropout(setup.dropout, seed=seed, name="dropout")(state)
    if not setup.lead_days:
        discharge = keras.layers.Dense(1, kernel_initializer=initial.GlorotUniform(seed + 2), name="discharge")
        return keras.Model(days, discharge(state), name="river_lstm")
    change = keras.layers.Dense(1, kernel_initializer="zeros", name="change")(state)
    return keras.Model(days, keras.layers.Add(name="discharge")([days[:, -1, -1:], change]), name="river_lstm")
