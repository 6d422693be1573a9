"""Axes: round numbers for values, calendar steps for time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deeprc.report import formats


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, 0 to 1. Level 0 shows always, 1 not on a phone, 2 only when zoomed in."""

    at: float
    label: str
    level: int = 0


@dataclass(frozen=True)
class TimeAxis:
    """Where each of the given times lies, 0 to 1, how it is written, and the ticks."""

    positions: list[float]
    labels: list[str]
    ticks: list[Tick]
    span: str


@dataclass(frozen=True)
class _Step:
    unit: str
    size: int
    seconds: float


_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_STEPS = (
    *(_Step("minute", size, size * _MINUTE) for size in (1, 5, 15, 30)),
    *(_Step("hour", size, size * _HOUR) for size in (1, 3, 6, 12)),
    *(_Step("day", size, size * _DAY) for size in (1, 2, 7)),
    *(_Step("month", size, size * 30.4 * _DAY) for size in (1, 3, 6)),
    *(_Step("year", size, size * 365.25 * _DAY) for size in (1, 2, 5, 10, 20, 50, 100)),
)


def round_step(span: float, wanted: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that divides `span` into at most `wanted` steps."""
    raw = span / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999999)


def value_ticks(low: float, high: float, wanted: int = 4, write: Callable[[float], str] = formats.number) -> list[Tick]:
    """Ticks at round numbers between `low` and `high`, which need not be round themselves."""
    if not high > low:
        return [Tick(0.0, write(low))]
    step = round_step(high - low, wanted)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [
        Tick((index * step - low) / (high - low), write(round(index * step, 12)), (index - first) % 2)
        for index in range(first, last + 1)
    ]


def time_axis(times: Sequence[str], coarse: int = 8, fine: int = 40) -> TimeAxis:
    """Place ISO 8601 times on an axis; times that can't be read are placed evenly, in their order."""
    moments = _moments(times)
    if moments is None or len(times) < 2 or moments[0] == moments[-1]:
        return _even_axis(times, coarse)
    first, last = min(moments), max(moments)
    length = (last - first).total_seconds()
    if length <= 0:
        return _even_axis(times, coarse)
    daily = all(moment.time() == first.time() for moment in moments)
    labels = [_date(moment) if daily else f"{_date(moment)}, {moment:%H:%M}" for moment in moments]
    positions = [(moment - first).total_seconds() / length for moment in moments]
    return TimeAxis(positions, labels, _time_ticks(first, last, coarse, fine), f"{_date(first)} to {_date(last)}")


def place(times: Sequence[str], moment: str) -> float | None:
    """Where one more time lies on the axis of `times`; None if it can't be read or lies outside."""
    moments = _moments([*times, moment])
    if moments is None or len(moments) < 3:
        return None
    first, last = min(moments[:-1]), max(moments[:-1])
    inside = first <= moments[-1] <= last and last > first
    return (moments[-1] - first) / (last - first) if inside else None


def _moments(times: Sequence[str]) -> list[datetime] | None:
    """Times without a zone; those with one are taken to UTC."""
    try:
        parsed = [datetime.fromisoformat(time) for time in times]
    except (TypeError, ValueError):
        return None
    return [moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment for moment in parsed]


def _even_axis(times: Sequence[str], wanted: int) -> TimeAxis:
    last = max(1, len(times) - 1)
    every = max(1, math.ceil(len(times) / wanted))
    ticks = [Tick(index / last, str(times[index]), (index // every) % 2) for index in range(0, len(times), every)]
    span = f"{times[0]} to {times[-1]}" if times else ""
    return TimeAxis([index / last for index in range(len(times))], [str(time) for time in times], ticks, span)


def _time_ticks(first: datetime, last: datetime, coarse: int, fine: int) -> list[Tick]:
    """Coarse ticks, and between them fine ones for the zoomed chart, none too near to a coarse one."""
    length = (last - first).total_seconds()
    step, fine_step = _step(length, coarse), _step(length, fine)
    ticks = [
        Tick((moment - first).total_seconds() / length, _label(moment, step), index % 2)
        for index, moment in enumerate(_calendar(first, last, step))
    ]
    gap = 0.6 * fine_step.seconds / length
    for moment in _calendar(first, last, fine_step):
        at = (moment - first).total_seconds() / length
        if all(abs(at - tick.at) > gap for tick in ticks if tick.level < 2):
            ticks.append(Tick(at, _label(moment, fine_step), 2))
    return sorted(ticks, key=lambda tick: tick.at)


def _step(length: float, wanted: int) -> _Step:
    return next((step for step in _STEPS if length / step.seconds <= wanted), _STEPS[-1])


def _calendar(first: datetime, last: datetime, step: _Step) -> Iterator[datetime]:
    """All multiples of a step on the calendar from `first` to `last`; weeks begin on Monday."""
    if step.unit in {"month", "year"}:
        months = step.size * (12 if step.unit == "year" else 1)
        index = -(-(first.year * 12 + first.month - 1) // months) * months
        while index // 12 <= last.year:
            moment = datetime(index // 12, index % 12 + 1, 1)
            if first <= moment <= last:
                yield moment
            index += months
        return
    origin = datetime(1, 1, 1)
    size = timedelta(seconds=step.seconds)
    moment = origin + -((origin - first) // size) * size
    while moment <= last:
        yield moment
        moment += size


def _label(moment: datetime, step: _Step) -> str:
    if step.unit == "year":
        return str(moment.year)
    if step.unit == "month":
        return f"{formats.MONTHS[moment.month - 1]} {moment.year}"
    if step.unit == "day" or (moment.hour, moment.minute) == (0, 0):
        return f"{moment.day} {formats.MONTHS[moment.month - 1]}"
    return f"{moment:%H:%M}"


def _date(moment: datetime) -> str:
    return f"{moment.day} {formats.MONTHS[moment.month - 1]} {moment.year}"
