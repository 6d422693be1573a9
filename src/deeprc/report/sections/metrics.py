"""Tables of metrics: the best value of each column stands out, baselines are marked."""

from __future__ import annotations

from collections.abc import Sequence

from deeprc.journal import MetricTable
from deeprc.journal.artifacts import Number
from deeprc.report import formats
from deeprc.report.markup import Column, Html, Node, element, folded, number_cell, row, table
from deeprc.report.results import Results, is_baseline
from deeprc.report.sections.section import Section, section

UNFOLDED_ROWS = 40


def metrics_section(results: Results) -> Section | None:
    """One table for each that was recorded."""
    if not results.metrics:
        return None
    return section(
        "metrics",
        "Metrics",
        "Metrics",
        element("div", [_table(metrics) for metrics in results.metrics], class_="tables"),
        lead="The best value of each column, for each river where there are several, is set in bold on a tint. "
        "A heading sorts by its column.",
    )


def best_rows(metrics: MetricTable, column: int) -> set[str]:
    """Rows that hold the best value of a column, within each subject where rows are named "subject: model".

    None where the table doesn't say what is better, or where there is nothing to compare.
    """
    better = metrics.better[column] if column < len(metrics.better) else ""
    if better not in {"lower", "higher"}:
        return set()
    best: set[str] = set()
    for names in subjects(metrics):
        values = {name: _at(metrics.rows[name], column) for name in names}
        known = {name: value for name, value in values.items() if value is not None}
        if len(known) > 1:
            winner = min(known.values()) if better == "lower" else max(known.values())
            best.update(name for name, value in known.items() if value == winner)
    return best


def subjects(metrics: MetricTable) -> list[list[str]]:
    """Names of rows that may be compared: all, or those of each river where all are named "river: model"."""
    if not all(": " in name for name in metrics.rows):
        return [list(metrics.rows)]
    groups: dict[str, list[str]] = {}
    for name in metrics.rows:
        groups.setdefault(name.partition(": ")[0], []).append(name)
    return list(groups.values())


def _at(values: Sequence[Number], column: int) -> Number:
    return values[column] if column < len(values) else None


def _table(metrics: MetricTable) -> Html:
    columns = range(len(metrics.columns))
    best = [best_rows(metrics, column) for column in columns]
    places = [formats.decimals(_at(values, column) for values in metrics.rows.values()) for column in columns]
    rows = [
        _row(name, [_at(metrics.rows[name], column) for column in columns], best, places)
        for name in _sorted_names(metrics)
    ]
    headings = [Column("Name"), *(_heading(metrics, column) for column in columns)]
    shown = table(metrics.title, headings, rows, class_="metrics", sortable=True)
    note = element("p", metrics.note, class_="note") if metrics.note else None
    if len(rows) > UNFOLDED_ROWS:
        shown = folded(f"{metrics.title}: {len(rows)} rows", shown)
    return element("div", shown, note)


def _heading(metrics: MetricTable, column: int) -> Column:
    better = metrics.better[column] if column < len(metrics.better) else ""
    arrow = {"lower": " ↓", "higher": " ↑"}.get(better, "")
    return Column(metrics.columns[column] + arrow, numeric=True, hint=f"{better} is better" if arrow else "")


def _sorted_names(metrics: MetricTable) -> list[str]:
    """Best first by the first column that says what is better, subject by subject; rows without a value last."""
    column = next((i for i, better in enumerate(metrics.better) if better in {"lower", "higher"}), None)
    if column is None:
        return list(metrics.rows)
    sign = 1.0 if metrics.better[column] == "lower" else -1.0

    def place(name: str) -> tuple[bool, float]:
        value = _at(metrics.rows[name], column)
        return value is None, sign * (value or 0.0)

    return [name for names in subjects(metrics) for name in sorted(names, key=place)]


def _row(name: str, values: Sequence[Number], best: Sequence[set[str]], places: Sequence[int | None]) -> Html:
    cells = []
    for value, winners, decimals in zip(values, best, places, strict=True):
        shown: Node = formats.fixed(value, decimals)
        if name in winners:
            shown = element("strong", shown, element("span", " (best)", class_="unseen"))
        cells.append(number_cell(shown, sort=value, class_="best" if name in winners else ""))
    if not is_baseline(name):
        return row(name, *cells)
    return row([name, " ", element("small", "baseline", class_="tag")], *cells, class_="baseline-row")
