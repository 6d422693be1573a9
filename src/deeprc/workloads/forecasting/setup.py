"""What is forecast, from what, how long a model trains, and which rows are kept from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deeprc.errors import SpecError, valid_values
from deeprc.workloads.settings import check_numbers, made_of

COLUMNS = ("unique_id", "ds", "y")
COLUMN_KINDS = ("future_columns", "past_columns", "static_columns")
SCALERS = ("identity", "standard", "robust", "minmax", "revin")


@dataclass(frozen=True)
class ForecastSpec:
    """The settings of a backtest; `fit` takes each by name.

    A model reads `lookback` rows of a series and forecasts the `horizon` rows after them. The last
    `windows * horizon` rows of every series are never trained on: the model forecasts them in `windows`
    steps, each from the rows before it. `season_length` is the rows after which the series repeats itself
    (24 for hourly rows with a daily rhythm): the baseline and MASE rest on it. `batch_size` counts windows of
    one series, over all ranks. `scaler` is NeuralForecast's, applied to each window. `options` are
    hyperparameters of the NeuralForecast model, over the defaults in `models.py`.

    With `windows` 0 no row is kept: a model of all that is known, for forecasts of what is not.

    A model also reads `future_columns`, known up to the rows it forecasts (a calendar, a weather forecast),
    `past_columns`, known up to the row before them, and `static_columns`, one value for each series.
    """

    horizon: int = 24
    lookback: int = 48
    season_length: int = 24
    windows: int = 1
    max_steps: int = 500
    batch_size: int = 32
    learning_rate: float = 1e-3
    scaler: str = "standard"
    seed: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    future_columns: Sequence[str] = ()
    past_columns: Sequence[str] = ()
    static_columns: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._check_columns()
        check_numbers(self, {"seed": 0, "lookback": 2, "windows": 0})
        if self.learning_rate == 0:
            raise SpecError("learning_rate=0: must be a positive number, such as 0.001")
        if not isinstance(self.options, Mapping):
            raise SpecError(f"options={self.options!r}: must map names of the model's hyperparameters to values")
        if self.scaler not in SCALERS:
            raise SpecError(f"unknown scaler {self.scaler!r}. {valid_values(self.scaler, SCALERS, noun='scaler')}")

    def _check_columns(self) -> None:
        taken = list(COLUMNS)
        for kind in COLUMN_KINDS:
            names = getattr(self, kind)
            if isinstance(names, str) or not all(isinstance(name, str) for name in names):
                raise SpecError(f"{kind}={names!r}: must be a list of names of columns")
            object.__setattr__(self, kind, tuple(names))
            for name in names:
                if name in taken:
                    raise SpecError(f"{kind}: {name!r} is named twice, or is one of {', '.join(COLUMNS)}")
                taken.append(name)

    @property
    def temporal_columns(self) -> tuple[str, ...]:
        """The columns beside y that differ from row to row."""
        return (*self.future_columns, *self.past_columns)

    @property
    def test_rows(self) -> int:
        """Rows of each series kept from training."""
        return self.windows * self.horizon

    @property
    def rows_needed(self) -> int:
        """The least rows a series can have: one training window, one season, and the rows kept."""
        return max(self.lookback + 1 + self.horizon, self.season_length + 1) + self.test_rows

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ForecastSpec:
        """A spec from settings by name.

        Raises:
            SpecError: an unknown setting, or a value that cannot be.
        """
        return made_of(cls, settings)
