"""What came out of two runs, where it differs."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from deeprc.journal import RunRecord
from deeprc.report.numbers import same_numbers, same_texts
from deeprc.report.results import results_of
from deeprc.report.summary import metric_rows
from deeprc.report.tasks import Task, tasks_of

Pair = tuple[Any, Any]
Cell = tuple[str, str, str]

_LEAST_SECONDS = 1.0
_MUCH_SLOWER = 1.5
_CUT = "..."
_OF_A_WORD = f"{string.ascii_letters}{string.digits}_.+-"


def metrics_that_differ(a: RunRecord, b: RunRecord, tolerance: float) -> tuple[dict[str, Any], int]:
    """Metrics as {table: {row: {column: pair}}}, and how many have been compared; times are not."""
    (before, clocks), (after, more_clocks) = _metrics(a), _metrics(b)
    found: dict[str, Any] = {}
    cells = [cell for cell in dict.fromkeys([*before, *after]) if (cell[0], cell[2]) not in clocks | more_clocks]
    for cell in cells:
        pair = (before.get(cell), after.get(cell))
        if not same_numbers(*pair, tolerance) or (cell in before) != (cell in after):
            title, row, column = cell
            found.setdefault(title, {}).setdefault(row, {})[column] = pair
    return found, len(cells)


def _metrics(run: RunRecord) -> tuple[dict[Cell, Any], set[tuple[str, str]]]:
    """A run's metrics by table, row and column; and the table and name of each column that holds times."""
    tables = results_of(run).metrics
    cells = {
        (table.title, row, column): value
        for table in tables
        for row, values in metric_rows(table).items()
        for column, value in values.items()
    }
    return cells, {(table.title, column) for table in tables for column in table.timings}


def results_that_differ(a: RunRecord, b: RunRecord, both: list[str], tolerance: float) -> dict[str, Pair]:
    """The texts of results that differ in more than the place of their run."""
    found = {}
    texts = [{name: task.result for name, task in tasks_of(run).items()} for run in (a, b)]
    for name in both:
        sides = [text[name].replace(str(run.directory), "RUN") for text, run in zip(texts, (a, b), strict=True)]
        if all(sides) and not same_texts(*_as_far_as_both(sides[0], sides[1]), tolerance):
            found[name] = (texts[0][name], texts[1][name])
    return found


def _as_far_as_both(a: str, b: str) -> tuple[str, str]:
    """Two texts up to where one of them was cut, without a word or number of which a part may be missing."""
    if not (a.endswith(_CUT) or b.endswith(_CUT)):
        return a, b
    end = min(len(text.removesuffix(_CUT)) for text in (a, b))
    return a[:end].rstrip(_OF_A_WORD), b[:end].rstrip(_OF_A_WORD)


def seconds_that_differ(a: Mapping[str, Task], b: Mapping[str, Task], both: list[str]) -> dict[str, Pair]:
    """Times of tasks that ran in both, where they differ by half of the shorter and by a second."""
    pairs = {name: (a[name].seconds, b[name].seconds) for name in both}
    return {name: (one, other) for name, (one, other) in pairs.items() if one and other and _much(one, other)}


def _much(one: float, other: float) -> bool:
    return abs(one - other) >= _LEAST_SECONDS and max(one, other) >= _MUCH_SLOWER * min(one, other)
