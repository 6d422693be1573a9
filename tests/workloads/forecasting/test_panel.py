"""Tables that cannot be forecast from are refused with the series and what to do."""

from __future__ import annotations

import polars as pl
import pytest

from deeprc.bridge import Dataset
from deeprc.errors import DataError
from deeprc.workloads.forecasting import ForecastSpec
from deeprc.workloads.forecasting.panel import COLUMNS, read_panel
from tests.workloads.forecasting.series import SETTINGS, hourly

SPEC = ForecastSpec(**SETTINGS)


def test_a_dataset_is_read_as_its_frame_is() -> None:
    """A Dataset and the frame it was made of give the same series, in any order of rows."""
    frame = hourly()
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    for data in (shuffled, Dataset.from_polars(shuffled)):
        panel = read_panel(data, SPEC)
        assert panel.names == ("east", "west")
        assert panel.values[1].tolist() == frame.filter(pl.col("unique_id") == "west")["y"].to_list()


def test_the_shortest_series_that_will_do() -> None:
    """A series of exactly the rows needed is taken, one row less is refused with both numbers and its name."""
    needed = SPEC.rows_needed
    read_panel(hourly(needed), SPEC)
    with pytest.raises(DataError, match=rf"'east' has {needed - 1} rows and needs at least {needed}"):
        read_panel(hourly(needed - 1), SPEC)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (hourly().rename({"y": "value"}), "no column 'y'"),
        (hourly().clear(), "no rows"),
        (hourly().with_columns(pl.col("y").cast(pl.String)), "must be numbers"),
        (hourly().with_columns(pl.col("ds").cast(pl.String)), "must be dates"),
        (hourly().with_columns(pl.lit(None).cast(pl.Float64).alias("y")), "240 such rows"),
        (hourly().with_columns(pl.lit(float("nan")).alias("y")), "'east': y is nan"),
        (pl.concat([hourly(), hourly().tail(1)]), "'west' has more than one row at 2013-01-05 23:00:00"),
        (hourly().filter(pl.col("ds").dt.hour() != 5), "no row between 2013-01-01 04:00:00 and 2013-01-01 06"),
    ],
)
def test_what_is_wrong_is_named(frame: pl.DataFrame, message: str) -> None:
    """Missing columns, missing values, double rows and gaps are refused, with where they are."""
    with pytest.raises(DataError, match=message):
        read_panel(frame, SPEC)


def test_months_are_even_steps() -> None:
    """Calendar months, though of different lengths, are no gap; whole numbers are times too."""
    dates = pl.date_range(pl.date(2000, 1, 1), pl.date(2010, 1, 1), "1mo", eager=True)
    monthly = pl.DataFrame({"unique_id": "a", "ds": dates, "y": range(len(dates))})
    assert len(read_panel(monthly, SPEC).values[0]) == len(dates)
    assert len(read_panel(monthly.with_columns(ds=pl.int_range(pl.len())), SPEC).values[0]) == len(dates)


def test_every_copy_is_in_the_ledger() -> None:
    """A table in order is read where it lies; rows out of order, and values of another type, are copied and told."""
    ordered = Dataset.from_polars(hourly().sort("unique_id", "ds"))
    read_panel(ordered, SPEC)
    assert {entry.mode for entry in ordered.ledger()} == {"shared"}
    shuffled = Dataset.from_polars(hourly().sample(fraction=1.0, shuffle=True, seed=1))
    read_panel(shuffled, SPEC)
    assert [entry.column for entry in shuffled.ledger() if "order of series" in entry.reason] == [*COLUMNS]
    integers = Dataset.from_polars(hourly().sort("unique_id", "ds").with_columns(pl.col("y").cast(pl.Int32)))
    read_panel(integers, SPEC)
    assert [(entry.column, entry.bytes) for entry in integers.ledger() if entry.mode == "copied"] == [
        ("y", 8 * integers.num_rows)
    ]
