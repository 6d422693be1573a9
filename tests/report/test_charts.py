"""Axes, paths and the thinning of long series."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprc.journal import ForecastPlot
from deeprc.report import formats
from deeprc.report.charts import line_styles, thin, time_axis, value_ticks
from deeprc.report.charts.paths import bars_down_path, line_path
from deeprc.report.charts.scales import place
from deeprc.report.sections.forecasts import mean_absolute_error, ranking
from deeprc.report.sections.lanes import short_names
from deeprc.report.tasks import Task


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_value_ticks_are_round_and_inside(low: float, span: float) -> None:
    """Whatever the range, a handful of ticks lie inside it, in order."""
    ticks = value_ticks(low, low + span, 5)
    assert 1 <= len(ticks) <= 7
    assert all(-1e-6 <= tick.at <= 1 + 1e-6 for tick in ticks)
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)


def test_value_ticks_read_as_people_write_them() -> None:
    """Steps are 1, 2 or 5 times a power of ten."""
    assert [tick.label for tick in value_ticks(0, 32.5, 5)] == ["0", "10", "20", "30"]
    assert [tick.label for tick in value_ticks(-0.31, 0.9, 5)] == ["0", "0.5"]
    assert [tick.label for tick in value_ticks(3, 3)] == ["3"]


@pytest.mark.parametrize(
    ("begin", "end", "first"),
    [
        ("2013-12-01T00:00", "2013-12-01T06:00", "1 Dec"),
        ("2013-12-01", "2013-12-08", "1 Dec"),
        ("1996-10-01", "1999-10-01", "Jan 1997"),
        ("1951-01-01", "1999-12-31", "1960"),
    ],
)
def test_time_ticks_stand_on_the_calendar(begin: str, end: str, first: str) -> None:
    """Hours, days, months or years, as the span asks; no more than fit on a screen."""
    axis = time_axis([begin, end])
    shown = [tick.label for tick in axis.ticks if tick.level < 2]
    assert shown[0] == first
    assert 2 <= len(shown) <= 9
    assert axis.positions == [0.0, 1.0]


@given(st.integers(0, 10**9), st.integers(60, 10**9))
def test_time_ticks_lie_on_the_axis(start: int, length: int) -> None:
    """Every tick of every span lies between the first time and the last, and none twice."""
    begin = datetime(1960, 1, 1) + timedelta(seconds=start)
    axis = time_axis([begin.isoformat(), (begin + timedelta(seconds=length)).isoformat()])
    places = [tick.at for tick in axis.ticks]
    assert places == sorted(set(places))
    assert all(0 <= at <= 1 for at in places)
    assert len([tick for tick in axis.ticks if tick.level < 2]) <= 9


def test_zones_are_taken_to_utc() -> None:
    """An hour with its zone and the same moment in UTC stand at one place."""
    axis = time_axis(["2020-01-01T00:00Z", "2020-01-01T02:00+01:00", "2020-01-01T02:00Z"])
    assert axis.positions == [0.0, 0.5, 1.0]


def test_times_that_are_no_dates_are_placed_evenly() -> None:
    """A step number or a word is a label, not an error."""
    axis = time_axis(["step 1", "step 2", "step 3"])
    assert axis.positions == [0.0, 0.5, 1.0]
    assert [tick.label for tick in axis.ticks] == ["step 1", "step 2", "step 3"]
    assert time_axis([]).ticks == []
    assert place(["step 1", "step 2"], "step 1") is None


def test_lines_break_at_gaps_and_lone_values_are_dots() -> None:
    """Nothing is drawn where nothing is known."""
    path = line_path([0, 0.25, 0.5, 0.75, 1], [0, 10, None, 5, None], 0, 10)
    assert path == "M0 1000L250 0M750 500h0"


def test_bars_hang_down() -> None:
    """A bar begins at the top edge and is as long as its value; zero and None have none."""
    path = bars_down_path([0, 0.5, 1], [0, 5, None], 0, 10)
    assert path == "M350 0v500h300V0z"


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e3, 1e3)), min_size=1, max_size=500),
    st.integers(4, 100),
)
def test_thinning_keeps_peaks_and_ends(values: list[float | None], points: int) -> None:
    """The highest, the lowest, the first and the last point of a series are always drawn."""
    kept = thin([values], len(values), points)
    assert kept == sorted(set(kept))
    assert {0, len(values) - 1} <= set(kept)
    assert len(kept) <= points + 2
    known = [value for value in values if value is not None]
    if known:
        drawn = [values[index] for index in kept if values[index] is not None]
        assert max(known) in drawn and min(known) in drawn


def test_styles_tell_eleven_models_apart() -> None:
    """No two models look alike, and baselines take no colour away."""
    names = [f"model {index}" for index in range(11)]
    styles = line_styles(["SeasonalNaive", *names, "climatology", *names])
    assert len(set(styles.values())) == 13
    assert styles["SeasonalNaive"].startswith("baseline")
    assert styles["model 0"] == "hue-1 dash-0"


def test_error_counts_only_what_the_model_had_not_seen() -> None:
    """Fitted values up to the cutoff say nothing about a forecast; models without any value come last."""
    plot = ForecastPlot(
        "departures",
        "departures / h",
        ["2020-01-01", "2020-01-02", "2020-01-03"],
        [1.0, 2.0, 3.0],
        {"good": [100.0, 2.0, 4.0], "bad": [1.0, 5.0, None], "mute": [None] * 3},
        cutoff="2020-01-01",
    )
    assert mean_absolute_error(plot, "good") == 0.5
    assert [model for model, _ in ranking(plot)] == ["good", "bad", "mute"]


def test_bars_are_named_by_what_sets_tasks_apart() -> None:
    """The words that all tasks of a function begin with are left out, never half a word."""
    tasks = [Task(name, function="m:fit") for name in ("forecast.GRU", "forecast.GRUD")]
    assert short_names([*tasks, Task("evaluate.all", function="m:evaluate")]) == {
        "forecast.GRU": "GRU",
        "forecast.GRUD": "GRUD",
        "evaluate.all": "evaluate.all",
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0 s"),
        (0.0124, "12 ms"),
        (3.456, "3.46 s"),
        (42.04, "42.0 s"),
        (59.99, "1 min 00 s"),
        (7384, "2 h 03 min"),
    ],
)
def test_durations(value: float, written: str) -> None:
    """A duration has a unit and about three digits."""
    assert formats.seconds(value) == written


def test_numbers_and_sizes() -> None:
    """Grouped thousands, a true minus, no more digits than they deserve; None and NaN are a dash."""
    assert [formats.number(value) for value in (0, 12345.6, -0.5, 1e-7, None, math.nan)] == [
        *("0", "12,346", "−0.5", "1.000e−07", "–", "–")
    ]
    assert [formats.size(value) for value in (0, 999, 1500, 2_640_000, 5e12)] == [
        *("0 B", "999 B", "1.5 kB", "2.6 MB", "5.0 TB")
    ]
    assert [formats.decimals(values) for values in ([3.2, 31.5], [0.87], [731.0, 0], [1e-9], [None])] == [
        2,
        3,
        0,
        None,
        0,
    ]
