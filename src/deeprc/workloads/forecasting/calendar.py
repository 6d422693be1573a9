"""The times that follow a series of even steps."""

from __future__ import annotations

import polars as pl

from deeprc.errors import DataError

_MONTHS = (1, 2, 3, 4, 6, 12)


def times_after(times: pl.Series, rows: int, series: str) -> pl.Series:
    """The next `rows` times of a series: its last step again and again, or calendar months, quarters, years.

    Raises:
        DataError: there is but one time, or no rule that the last of them follow.
    """
    recent = times.tail(25)
    if len(recent) < 2:
        raise DataError(f"series {series!r} has one row: what follows it cannot be told")
    steps = recent.diff().drop_nulls()
    last = recent[-1]
    if steps.n_unique() == 1:
        following = pl.Series("ds", [last + steps[0] * (row + 1) for row in range(rows)])
        return following.cast(times.dtype)
    if recent.dtype.is_temporal():
        for months in _MONTHS:
            for at_end in (False, True):
                if _in_months(recent, recent[0], months, len(recent), at_end).equals(recent):
                    return _in_months(recent, last, months, rows + 1, at_end).slice(1)
    raise DataError(
        f"series {series!r}: its last steps are uneven ({', '.join(str(step) for step in steps.unique()[:3])}), so the "
        "times to forecast cannot be told; give evenly spaced rows, or integers that count them"
    )


def _in_months(like: pl.Series, first: object, months: int, rows: int, at_end: bool) -> pl.Series:
    """Times every `months` from the first, on its day of the month or at the ends of months."""
    every = pl.lit(first, dtype=like.dtype).dt.offset_by(pl.format("{}mo", pl.int_range(rows) * months))
    return pl.select(every.dt.month_end() if at_end else every).to_series().alias(like.name)
