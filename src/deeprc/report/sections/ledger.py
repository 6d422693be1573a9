"""The copy ledger: what frameworks got of the data without a copy, and why the rest was copied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deeprc.journal import RunRecord
from deeprc.report import formats
from deeprc.report.markup import Column, Html, element, folded, number_cell, row, table
from deeprc.report.sections.section import Section, section
from deeprc.report.summary import transferred_bytes

UNFOLDED = 20
_COLUMNS = (
    Column("Column"),
    Column("Task"),
    Column("Dataset"),
    Column("To"),
    Column("How"),
    Column("Bytes", numeric=True),
    Column("Why"),
)


@dataclass(frozen=True)
class _Entry:
    column: str
    task: str
    dataset: str
    to: str
    mode: str
    reason: str


def ledger_section(run: RunRecord) -> Section | None:
    """Totals, then one row for each task and column, ranks summed up."""
    entries = _entries(run)
    if not entries:
        return None
    rows = [_row(entry, num_bytes) for entry, num_bytes in entries.items()]
    ledger = table("Columns handed to each framework, by task", _COLUMNS, rows)
    if len(rows) > UNFOLDED:
        ledger = folded(f"All {formats.count(len(rows), 'entry', 'entries')}", ledger)
    shared, copied = transferred_bytes(run, "shared"), transferred_bytes(run, "copied")
    return section(
        "copies",
        "Copies",
        "Copy ledger",
        _totals(shared, copied),
        _reasons(entries),
        ledger,
        lead="A shared column is read from the mapped file where it lies; a copied one says why it had to be.",
    )


def _entries(run: RunRecord) -> dict[_Entry, int]:
    totals: dict[_Entry, int] = {}
    for event in run.of_kind("transfer"):
        names = ("column", "task", "dataset", "to", "mode", "reason")
        entry = _Entry(*(str(event.get(name) or "") for name in names))
        totals[entry] = totals.get(entry, 0) + int(event.get("bytes") or 0)
    return totals


def _totals(shared: int, copied: int) -> Html:
    """The share of each as one bar with its legend."""
    share = shared / (shared + copied) if shared + copied else 0.0
    words = f"{formats.size(shared)} shared ({share:.0%}), {formats.size(copied)} copied ({1 - share:.0%})"
    bar = element("i", class_="partly" if 0 < share < 1 else None, style=f"width:{share * 100:.2f}%")
    return element(
        "div",
        element("p", element("strong", formats.size(shared)), f" shared ({share:.0%})", class_="shared-total"),
        element("p", element("strong", formats.size(copied)), f" copied ({1 - share:.0%})"),
        element("div", bar, class_="balance", role="img", aria_label=words),
        class_="totals",
    )


def _reasons(entries: Mapping[_Entry, int]) -> Html | None:
    """Why bytes were copied, the costliest reason first."""
    costs: dict[str, int] = {}
    for entry, num_bytes in entries.items():
        if entry.mode == "copied":
            reason = entry.reason or "no reason was recorded"
            costs[reason] = costs.get(reason, 0) + num_bytes
    if not costs:
        return None
    ordered = sorted(costs.items(), key=lambda pair: (-pair[1], pair[0]))
    items = [element("li", element("strong", formats.size(cost)), f" {reason}") for reason, cost in ordered]
    return element("div", element("h3", "Why bytes were copied"), element("ul", items, class_="plain"))


def _row(entry: _Entry, num_bytes: int) -> Html:
    return row(
        entry.column,
        entry.task,
        entry.dataset,
        entry.to,
        element("td", entry.mode, class_=f"mode {'copied' if entry.mode == 'copied' else 'shared'}"),
        number_cell(formats.size(num_bytes)),
        element("td", entry.reason, class_="reason"),
    )
