"""Simulations that need no model: what a model has to beat."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

HALF_WINDOW_DAYS = 7


def persistence(river: pl.DataFrame, target: str, lead_days: int) -> pl.Series:
    """The discharge `lead_days` before each day: nothing changes. Null where that was not observed.

    `river` is one river's record, in which days may be absent.
    """
    before = river.select((pl.col("date") + timedelta(days=lead_days)).alias("date"), pl.col(target))
    return river.select("date").join(before, on="date", how="left")[target].alias("persistence")


def climatology(river: pl.DataFrame, training: pl.DataFrame, target: str) -> pl.Series:
    """The season's discharge on each day of `river`: the mean over all `training` days around the calendar day.

    The window is the day of the year and `HALF_WINDOW_DAYS` on either side, through the turn of the year.
    """
    known = training.filter(pl.col(target).is_not_null())
    day_of_year = known["date"].dt.ordinal_day().to_numpy() - 1
    sums = np.bincount(day_of_year, weights=known[target].to_numpy(), minlength=366)
    counts = np.bincount(day_of_year, minlength=366)
    offsets = range(-HALF_WINDOW_DAYS, HALF_WINDOW_DAYS + 1)
    near_sums = np.sum([np.roll(sums, offset) for offset in offsets], axis=0)
    near_counts = np.sum([np.roll(counts, offset) for offset in offsets], axis=0)
    season = np.where(near_counts > 0, near_sums / np.maximum(near_counts, 1), np.nan)
    values = season[river["date"].dt.ordinal_day().to_numpy() - 1]
    return pl.Series("climatology", values).fill_nan(None)
