"""Windows of days: which there are, what is in them, how they are scaled."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprc.workloads.hydrology.samples import fit_scaling, river_samples, sample_batches
from deeprc.workloads.hydrology.setup import Periods, Setup

START = date(2000, 1, 1)


def table(basin: str, rain: list[float | None], discharge: list[float | None]) -> pl.DataFrame:
    days = [START + timedelta(days=day) for day in range(len(rain))]
    values = {"basin": [basin] * len(rain), "date": days, "rain": rain, "discharge": discharge}
    types = {"basin": pl.String, "date": pl.Date, "rain": pl.Float64, "discharge": pl.Float64}
    return pl.DataFrame(values, schema=types)


rarely = st.integers(0, 9).map(lambda number: number == 9)
days_with_gaps = st.lists(st.tuples(rarely, rarely, rarely), min_size=8, max_size=40)


@settings(deadline=None)
@given(days_with_gaps, st.integers(1, 4), st.integers(0, 2))
def test_windows_are_those_found_by_hand(gaps: list[tuple[bool, bool, bool]], lookback: int, lead: int) -> None:
    """Every full window that ends on a day with a target is there once, holds its days and nothing else.

    Days lack rain, discharge, or are absent altogether; a second river stands before the first.
    """
    setup = Setup(features=("rain",), static=(), lookback_days=lookback, lead_days=lead, batch_size=1000)
    rain = [None if no_rain else float(day) for day, (no_rain, _, _) in enumerate(gaps)]
    flow = [None if no_flow else 100.0 + day for day, (_, no_flow, _) in enumerate(gaps)]
    rain[0], flow[0], rain[-1], flow[-1] = 0.0, 100.0, len(gaps) - 1.0, 99.0 + len(gaps)
    absent = [START + timedelta(days=day) for day, gap in enumerate(gaps) if gap[2] and 0 < day < len(gaps) - 1]
    river = table("B", rain, flow).filter(~pl.col("date").is_in(absent))
    for day in absent:
        rain[(day - START).days] = flow[(day - START).days] = None
    before = table("A", [0.0, 1.0] * 5, [5.0, 6.0] * 5)
    until = START + timedelta(days=len(gaps) - 2)
    periods = {"A": (START, START), "B": (START + timedelta(days=1), until)}

    scaling = fit_scaling(
        pl.concat([before, river]), {name: Periods(START, date.max, date.max, date.max) for name in "AB"}, setup
    )
    rivers = river_samples(pl.concat([river, before]), scaling, setup)
    expected = []
    for day in range(max(lookback - 1, 1), len(gaps) - 2):
        weather = rain[day - lookback + 1 : day + 1]
        past = [flow[one - lead] if one >= lead else None for one in range(day - lookback + 1, day + 1)]
        if None in weather or flow[day] is None or (lead and None in past):
            continue
        columns = [weather, past] if lead else [weather]
        expected.append((np.array(columns, dtype=float).T, flow[day]))
    if not expected:
        return
    inputs, targets = next(sample_batches(rivers, periods, setup).share(0, 0, 1))
    assert len(inputs) == len(expected)
    mean, spread = scaling.columns["rain"]
    flow_mean, flow_spread = scaling.target["B"]
    for window, target, (values, flow_of_day) in zip(inputs, targets, expected, strict=True):
        np.testing.assert_allclose(window[:, 0] * spread + mean, values[:, 0], atol=1e-3)
        assert target[0] * flow_spread + flow_mean == pytest.approx(flow_of_day, abs=1e-2)
        if lead:
            np.testing.assert_allclose(window[:, 1] * flow_spread + flow_mean, values[:, 1], atol=1e-2)


def test_scaling_is_measured_on_the_training_period_alone() -> None:
    """Features over all rivers, the target by river, constants left at a spread of 1, later days unseen."""
    frame = pl.concat(
        [table("A", [1.0, 3.0, 99.0], [2.0, 4.0, 99.0]), table("B", [5.0, 7.0, 99.0], [10.0, 10.0, 99.0])]
    )
    until = START + timedelta(days=2)
    periods = {name: Periods(START, until, until, until) for name in "AB"}
    scaling = fit_scaling(frame, periods, Setup(features=("rain",), static=()))
    assert scaling.columns == {"rain": (4.0, pytest.approx(np.sqrt(5)))}
    assert scaling.target == {"A": (3.0, 1.0), "B": (10.0, 1.0)}
