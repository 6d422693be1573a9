"""What a river model sees, how large it is, how it is trained, and which years are kept from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, get_args

import polars as pl

from deeprc.errors import DataError, SpecError, valid_values
from deeprc.workloads.settings import check_numbers, made_of

Scale = Literal["river", "shared"]


@dataclass(frozen=True)
class Setup:
    """The settings of a river model; `train_lstm` takes each by name.

    `features` are columns that change from day to day, `static` columns that do not; `lookback_days` is the
    number of days the network reads, the day it predicts included. With `lead_days` >= 1 the network also
    reads the discharge observed up to that many days before (a forecast that knows the weather up to its
    day); with 0 it simulates runoff from weather alone, and needs a lookback as long as the catchment's memory,
    half a year and more. The last `test_years` of each river are never trained on, the `validation_years`
    before them choose the epoch; with 0 test years a model is for forecasts, and cannot be evaluated.

    `scale` is that of the target: of each river's own ("river"), or one for all ("shared"), with which a model
    simulates rivers that it was not trained on, known by their static columns (prediction in ungauged basins, Kratzert
    et al. 2019, doi:10.1029/2019WR026065). `held_out` rivers are never trained on; `evaluate` scores them apart.
    """

    features: tuple[str, ...] = ("precipitation", "pet")
    static: tuple[str, ...] = ("area_km2", "latitude_deg")
    target: str = "discharge"
    lookback_days: int = 30
    lead_days: int = 1
    hidden_units: int = 32
    dropout: float = 0.0
    batch_size: int = 128
    epochs: int = 20
    patience: int = 8
    learning_rate: float = 1e-2
    validation_years: int = 1
    test_years: int = 2
    seed: int = 1
    scale: Scale = "river"
    held_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        object.__setattr__(self, "static", tuple(self.static))
        if isinstance(self.held_out, str):
            raise SpecError(f"held_out={self.held_out!r}: give a list of rivers")
        object.__setattr__(self, "held_out", tuple(self.held_out))
        check_numbers(self, {"lead_days": 0, "seed": 0, "test_years": 0})
        if not self.features:
            raise SpecError("features: name at least one column that changes from day to day")
        if not 0 <= self.dropout < 1 or self.learning_rate == 0:
            raise SpecError("dropout must lie in [0, 1), and learning_rate must be positive")
        if self.scale not in get_args(Scale):
            raise SpecError(f"unknown scale {self.scale!r}. {valid_values(self.scale, get_args(Scale), noun='scale')}")
        if self.held_out and self.scale != "shared":
            raise SpecError("held_out: rivers that are not trained on have no scale of their own: say scale='shared'")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Setup:
        """A setup from settings by name.

        Raises:
            SpecError: an unknown setting, or a value that cannot be.
        """
        return made_of(cls, settings)


@dataclass(frozen=True)
class Periods:
    """One river's record in three: training, then validation, then test, each from the date given."""

    first: date
    validation_from: date
    test_from: date
    last: date


def split_years(frame: pl.DataFrame, setup: Setup) -> dict[str, Periods]:
    """Cut each river's record, counting years back from its last day with a known target.

    Raises:
        DataError: a river's record leaves less than a year to train on.
    """
    periods = count_back(frame, setup)
    short = [
        basin
        for basin in frame["basin"].unique().sort()
        if basin not in periods or (periods[basin].validation_from - periods[basin].first).days < 365
    ]
    if short:
        named = ", ".join(short[:10]) + (f" and {len(short) - 10} more" if len(short) > 10 else "")
        others = ", or hold them out: held_out=[...]" if setup.scale == "shared" else ""
        raise DataError(
            f"{named}: the record of {setup.target} is too short to keep {setup.test_years} years for the test and "
            f"{setup.validation_years} for validation (test_years, validation_years) and train on at least one; keep "
            f"fewer years or leave out these rivers{others}"
        )
    return periods


def count_back(frame: pl.DataFrame, setup: Setup) -> dict[str, Periods]:
    """The periods of each river of which the target is known on any day, however short its record is."""
    known = frame.filter(pl.col(setup.target).is_not_null())
    after = pl.col("date").max().dt.offset_by("1d")
    years = known.group_by("basin").agg(
        pl.col("date").min().alias("first"),
        after.dt.offset_by(f"-{setup.test_years + setup.validation_years}y").alias("validation_from"),
        after.dt.offset_by(f"-{setup.test_years}y").alias("test_from"),
        pl.col("date").max().alias("last"),
    )
    return {row.pop("basin"): Periods(**row) for row in years.sort("basin").to_dicts()}
