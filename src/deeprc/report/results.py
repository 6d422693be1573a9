"""The artifacts that tasks left, read back into the types they were recorded as."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from deeprc.journal import ForecastPlot, Hydrograph, MetricTable, RunRecord

T = TypeVar("T", MetricTable, ForecastPlot, Hydrograph)


@dataclass(frozen=True)
class Results:
    """All artifacts of a run in the order they were recorded; `unreadable` says which are not shown and why."""

    metrics: tuple[MetricTable, ...]
    forecasts: tuple[ForecastPlot, ...]
    hydrographs: tuple[Hydrograph, ...]
    unreadable: tuple[str, ...]


def results_of(run: RunRecord) -> Results:
    """Read a run's artifacts. One that was damaged since costs its own picture, not the page."""
    unreadable: list[str] = []
    contents = list(_contents(run, unreadable))
    return Results(
        metrics=tuple(_typed(MetricTable, contents, unreadable)),
        forecasts=tuple(_typed(ForecastPlot, contents, unreadable)),
        hydrographs=tuple(_typed(Hydrograph, contents, unreadable)),
        unreadable=tuple(unreadable),
    )


def _contents(run: RunRecord, unreadable: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for event in run.of_kind("artifact"):
        path = str(event.get("path"))
        try:
            yield str(event.get("type")), path, _finite(run.artifact(event))
        except (OSError, ValueError, KeyError) as error:
            unreadable.append(f"{path}: {error}")


def _typed(type_: type[T], contents: list[tuple[str, str, dict[str, Any]]], unreadable: list[str]) -> Iterator[T]:
    names = {field.name for field in fields(type_)}
    for name, path, content in contents:
        if name != type_.__name__:
            continue
        try:
            yield type_(**{key: value for key, value in content.items() if key in names})
        except (TypeError, AttributeError) as error:
            unreadable.append(f"{path}: {error}")


def _finite(content: Any) -> Any:
    """NaN and infinity become None: a gap in a line, a dash in a table."""
    if isinstance(content, dict):
        return {key: _finite(item) for key, item in content.items()}
    if isinstance(content, list):
        return [_finite(item) for item in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def is_baseline(name: str) -> bool:
    """Whether a row or line is a reference forecast and not a model, by the names these go by."""
    return any(word in name.lower() for word in ("naive", "naïve", "persistence", "climatolog", "baseline"))
