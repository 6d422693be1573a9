"""From a table of series to arrays: checked, sorted, and cut into what is trained on and what is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from deeprc.errors import DataError, valid_values
from deeprc.workloads.forecasting.setup import COLUMNS, ForecastSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeprc.bridge import Dataset


@dataclass(frozen=True)
class Panel:
    """Series of one table. `values[i]` and `times[i]` are series `names[i]`, oldest row first, any length.

    Times are datetime64 or integers, at even steps within a series; values are float64 without NaN. `beside[i]`
    holds the columns that differ from row to row, (rows, column); `static` those that do not, (series, column).
    """

    names: tuple[str, ...]
    times: tuple[NDArray[Any], ...]
    values: tuple[NDArray[np.float64], ...]
    beside: tuple[NDArray[np.float64], ...]
    static: NDArray[np.float64]

    def last(self, rows: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Times and values (series, rows) of the last rows of every series."""
        return (
            np.stack([times[-rows:] for times in self.times]),
            np.stack([values[-rows:] for values in self.values]),
        )

    def last_channels(self, rows: int) -> NDArray[np.float64]:
        """y and the columns beside it (series, rows, column) of the last rows of every series."""
        return np.stack([channels[-rows:] for channels in self._channels()])

    def without_last(self, rows: int) -> list[NDArray[np.float64]]:
        """Values of every series except its last rows."""
        return [values[: len(values) - rows] for values in self.values]

    def channels_without_last(self, rows: int) -> list[NDArray[np.float64]]:
        """As `without_last`, with the columns beside y: (rows, column)."""
        return [channels[: len(channels) - rows] for channels in self._channels()]

    def aligned(self, rows: int) -> list[NDArray[np.float64]]:
        """As `channels_without_last`, cut to the time that all series share: what a multivariate model reads.

        Raises:
            DataError: the series do not end together, or have different time steps.
        """
        shortest = min(len(values) for values in self.values)
        for name, times in zip(self.names, self.times, strict=True):
            if not np.array_equal(times[-shortest:], self.times[0][-shortest:]):
                raise DataError(
                    f"series {name!r} and {self.names[0]!r} do not have the same times up to the same end; a model "
                    "that reads all series together needs that: cut or fill them, or choose another model"
                )
        return [channels[-shortest : len(channels) - rows] for channels in self._channels()]

    def _channels(self) -> Iterator[NDArray[np.float64]]:
        for values, beside in zip(self.values, self.beside, strict=True):
            yield np.column_stack([values, beside]) if beside.shape[1] else values[:, None]


def read_panel(data: Dataset | pl.DataFrame, spec: ForecastSpec, *, to_train: bool = True) -> Panel:
    """The series of a table with columns unique_id, ds, y and those that `spec` names.

    A table that is not `to_train` on needs but the rows that a forecast reads.

    Raises:
        DataError: a column is missing; a value is missing or not finite; a time is given twice or left out; or a
            series is too short, with the rows it needs.
    """
    frame = data if isinstance(data, pl.DataFrame) else data.to_polars()
    numbers = ("y", *spec.temporal_columns, *spec.static_columns)
    for column in (*COLUMNS, *numbers):
        if column not in frame.columns:
            raise DataError(f"no column {column!r}. {valid_values(column, frame.columns, noun='column')}")
    if frame.is_empty():
        raise DataError("the table has no rows to forecast from")
    if not (frame["ds"].dtype.is_temporal() or frame["ds"].dtype.is_integer()):
        raise DataError(
            f"column 'ds' is {frame['ds'].dtype}; times must be dates, datetimes or integers. Of text, "
            "pl.col('ds').str.to_datetime() makes datetimes"
        )
    for column in numbers:
        if not (frame[column].dtype.is_numeric() or (column != "y" and frame[column].dtype == pl.Boolean)):
            raise DataError(f"column {column!r} is {frame[column].dtype}; what a model reads must be numbers")
    frame = _in_order(frame, None if isinstance(data, pl.DataFrame) else data, numbers)
    _check_values(frame, numbers)
    series = _series(frame)
    for rows in series:
        _check_series(rows, spec, to_train=to_train)
    return Panel(
        names=tuple(rows["unique_id"][0] for rows in series),
        times=tuple(rows["ds"].to_numpy() for rows in series),
        values=tuple(rows["y"].to_numpy() for rows in series),
        beside=tuple(rows.select(spec.temporal_columns).to_numpy() for rows in series),
        static=np.array([[rows[name][0] for name in spec.static_columns] for rows in series], dtype=np.float64),
    )


def _in_order(frame: pl.DataFrame, source: Dataset | None, numbers: Sequence[str]) -> pl.DataFrame:
    """The columns wanted, by series and time; what is so already stays the mapped file, other copies are noted."""
    wanted = frame.select(pl.col("unique_id").cast(pl.String), "ds", pl.col(numbers).cast(pl.Float64))
    if source is not None:
        retyped = {
            name: int(wanted[name].estimated_size())
            for name in wanted.columns
            if wanted[name].dtype != frame[name].dtype
        }
        source.note_copies(retyped, to="polars", reason="names are read as text and values as float64")
    if _is_in_order(wanted):
        return wanted
    wanted = wanted.sort(COLUMNS[:2])
    if source is not None:
        moved = {name: int(wanted[name].estimated_size()) for name in wanted.columns}
        source.note_copies(moved, to="polars", reason="rows were put in the order of series and time")
    return wanted


def _is_in_order(frame: pl.DataFrame) -> bool:
    name, time = pl.col("unique_id"), pl.col("ds")
    before = (name.shift() < name) | ((name.shift() == name) & (time.shift() <= time))
    # Null for the first row alone, or where a value is missing, which is refused later.
    return bool(frame.select(before.slice(1).fill_null(False).all()).item())


def _series(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """The stretch of each series: slices, not copies."""
    lengths = frame["unique_id"].rle().struct.field("len").to_list()
    ends = np.cumsum(lengths)
    return [frame.slice(int(end) - length, length) for end, length in zip(ends, lengths, strict=True)]


def _check_values(frame: pl.DataFrame, numbers: Sequence[str]) -> None:
    bad = frame.filter(pl.any_horizontal(pl.all().is_null()) | pl.any_horizontal(~pl.col(numbers).is_finite()))
    if len(bad):
        row = bad.row(0, named=True)
        wrong = next((name for name in numbers if row[name] is None or not np.isfinite(row[name])), "y")
        raise DataError(
            f"series {row['unique_id']!r}: {wrong} is {row[wrong]} at {row['ds']} ({len(bad)} such rows in all); "
            "fill or drop them first"
        )


def _check_series(rows: pl.DataFrame, spec: ForecastSpec, *, to_train: bool) -> None:
    name = rows["unique_id"][0]
    if not to_train and len(rows) < spec.lookback:
        raise DataError(f"series {name!r} has {len(rows)} rows; a forecast reads the last {spec.lookback}")
    if to_train and len(rows) < spec.rows_needed:
        raise DataError(
            f"series {name!r} has {len(rows)} rows and needs at least {spec.rows_needed}: lookback={spec.lookback}, "
            f"horizon={spec.horizon}, windows={spec.windows}, season_length={spec.season_length}; "
            "make these smaller, or leave the series out"
        )
    for column in spec.static_columns:
        values = rows[column].unique(maintain_order=True)
        if len(values) > 1:
            raise DataError(
                f"series {name!r}: {column} is static, but is {values[0]} in one row, {values[1]} in another"
            )
    steps = np.diff(rows["ds"].to_physical().to_numpy())
    if not len(steps):
        return
    shortest, gap = int(steps.argmin()), int(steps.argmax())
    if steps[shortest] == 0:
        raise DataError(f"series {name!r} has more than one row at {rows['ds'][shortest]}")
    # Half as long again as usual: months differ in length, a missing row doubles the step.
    if steps[gap] > 1.5 * np.median(steps):
        raise DataError(
            f"series {name!r} has no row between {rows['ds'][gap]} and {rows['ds'][gap + 1]}; "
            "a model reads rows as even steps of time: fill the gap first"
        )
