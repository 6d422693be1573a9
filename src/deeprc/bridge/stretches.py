"""Where a table of series has rows that follow each other without a gap, and which windows fit there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from deeprc.errors import DataError


@dataclass(frozen=True)
class Stretches:
    """`begins[i]`: row i starts a new stretch. `order`: how rows had to be sorted first; None if they were."""

    begins: NDArray[np.bool_]
    order: NDArray[np.int64] | None


def stretches(keys: pl.DataFrame, by: Sequence[str], time: str | None) -> Stretches:
    """Split rows at changes of group and at gaps in time.

    Args:
        keys: the columns `by` and `time`, in the order of the rows.

    Raises:
        DataError: a time is null, or two rows of one group have the same time.
    """
    if time is not None and keys[time].null_count():
        raise DataError(f"time column {time!r} has {keys[time].null_count()} nulls; drop those rows first")
    order = None
    if not _is_ordered(keys, by, time):
        sorted_by = [*by, *([time] if time else [])]
        ordered = keys.with_row_index("").sort(sorted_by, maintain_order=True)
        order = ordered[""].to_numpy().astype(np.int64)
        keys = ordered.drop("")
    begins = _group_begins(keys, by)
    return Stretches(begins if time is None else begins | _gaps(keys, time, begins), order)


def window_starts(
    begins: NDArray[np.bool_],
    lookback: int,
    horizon: int,
    stride: int,
    missing_feature: NDArray[np.bool_],
    missing_target: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """First rows of all windows that lie in one stretch and miss nothing, in row order."""
    length = lookback + horizon
    count = len(begins) - length + 1
    if count <= 0:
        return np.empty(0, np.int64)
    rows = np.arange(count)
    stretch_start = np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))
    fits = stretch_start[length - 1 :] <= rows
    on_stride = (rows - stretch_start[:count]) % stride == 0
    complete = (_sums(missing_feature, lookback)[:count] == 0) & (_sums(missing_target, horizon)[lookback:] == 0)
    return np.flatnonzero(fits & on_stride & complete).astype(np.int64)


def longest_stretch(begins: NDArray[np.bool_], missing: NDArray[np.bool_]) -> int:
    """Rows of the longest stretch without a missing value."""
    cuts = np.flatnonzero(np.concatenate([begins | missing, [True]]))
    # A row with a missing value cuts and does not count itself.
    lengths = np.diff(cuts, prepend=0) - np.concatenate([[False], missing[cuts[:-1]]])
    return int(lengths.max(initial=0))


def _sums(flags: NDArray[np.bool_], width: int) -> NDArray[np.int64]:
    """How many of `flags[i : i + width]` are set, for each i where they exist."""
    totals = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
    sums: NDArray[np.int64] = totals[width:] - totals[:-width]
    return sums


def _is_ordered(keys: pl.DataFrame, by: Sequence[str], time: str | None) -> bool:
    begins = _group_begins(keys, by)
    if by and int(begins.sum()) != keys.select(by).n_unique():
        return False
    return time is None or bool((_differences(_numbers(keys[time]))[~begins] >= 0).all())


def _group_begins(keys: pl.DataFrame, by: Sequence[str]) -> NDArray[np.bool_]:
    begins = np.zeros(len(keys), np.bool_)
    begins[:1] = True
    if by:
        runs = keys.select(pl.struct(by).rle_id()).to_series().to_numpy()
        begins[1:] = runs[1:] != runs[:-1]
    return begins


def _gaps(keys: pl.DataFrame, time: str, begins: NDArray[np.bool_]) -> NDArray[np.bool_]:
    steps = _differences(_numbers(keys[time]))
    if len(repeated := np.flatnonzero(~begins & (steps == 0))):
        raise DataError(
            f"rows of one series have the same time: {time} = {keys[time][int(repeated[0])]} ({len(repeated)} times "
            "in all). Make times unique, or name the columns that tell series apart in by="
        )
    gaps = _irregular(steps, begins)
    if not isinstance(keys.schema[time], pl.Date | pl.Datetime) or not gaps.any():
        return gaps
    months = _differences(
        _numbers(keys.select(pl.col(time).dt.year().cast(pl.Int64) * 12 + pl.col(time).dt.month())[time])
    )
    if (months[~begins] == 0).any():
        return gaps
    return min(gaps, _irregular(months, begins), key=np.count_nonzero)


def _irregular(steps: NDArray[Any], begins: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows whose step from the row before is not the commonest, the smaller of two that are as common."""
    values, counts = np.unique(steps[~begins], return_counts=True)
    if not len(values):
        return np.zeros(len(steps), np.bool_)
    irregular: NDArray[np.bool_] = (steps != values[np.argmax(counts)]) & ~begins
    return irregular


def _numbers(series: pl.Series) -> NDArray[np.int64]:
    return series.to_physical().cast(pl.Int64).to_numpy()


def _differences(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Step to each row from the row before; 0 for the first."""
    return np.diff(values, prepend=values[:1])
