"""What ranks sent one another: bytes by task and operator."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deeprc.journal import RunRecord
from deeprc.report import formats
from deeprc.report.markup import Column, Html, element, folded, number_cell, row, table
from deeprc.report.sections.section import Section, section

UNFOLDED = 20
_COLUMNS = (
    Column("Operator"),
    Column("Task"),
    Column("Ranks", numeric=True),
    Column("Sent", numeric=True),
    Column("Received", numeric=True),
    Column("Slowest rank", numeric=True),
    Column("Share of all bytes"),
)


@dataclass(frozen=True)
class _Total:
    """Exchanges of one operator in one task; `seconds` is the longest that a rank spent."""

    sent: int = 0
    received: int = 0
    seconds_by_rank: tuple[tuple[int, float], ...] = ()

    def plus(self, event: dict[str, object]) -> _Total:
        rank, took = int(str(event.get("rank") or 0)), float(str(event.get("seconds") or 0))
        ranks = dict(self.seconds_by_rank)
        ranks[rank] = ranks.get(rank, 0.0) + took
        return replace(
            self,
            sent=self.sent + int(str(event.get("bytes_sent") or 0)),
            received=self.received + int(str(event.get("bytes_received") or 0)),
            seconds_by_rank=tuple(ranks.items()),
        )


def exchanges_section(run: RunRecord) -> Section | None:
    """One row for each task and operator; None if no table was exchanged."""
    totals: dict[tuple[str, str], _Total] = {}
    for event in run.of_kind("exchange"):
        key = (str(event.get("task") or ""), str(event.get("operator") or ""))
        totals[key] = totals.get(key, _Total()).plus(event)
    if not totals:
        return None
    all_sent = sum(total.sent for total in totals.values())
    rows = [_row(task, operator, total, all_sent) for (task, operator), total in totals.items()]
    shown = table("Exchanges between ranks, by task and operator", _COLUMNS, rows, class_="operators")
    if len(rows) > UNFOLDED:
        shown = folded(f"All {formats.count(len(rows), 'operator')}", shown)
    return section(
        "exchanges",
        "Exchanges",
        "Exchanges between ranks",
        shown,
        lead=f"Table operators sent {formats.size(all_sent)} from rank to rank.",
    )


def _row(task: str, operator: str, total: _Total, all_sent: int) -> Html:
    share = total.sent / all_sent if all_sent else 0.0
    bar = element("div", element("i", style=f"width:{share * 100:.1f}%"), class_="share")
    return row(
        element("code", operator),
        task,
        number_cell(str(len(total.seconds_by_rank))),
        number_cell(formats.size(total.sent)),
        number_cell(formats.size(total.received)),
        number_cell(formats.seconds(max((took for _, took in total.seconds_by_rank), default=None))),
        element("td", element("span", f"{share:.0%}", class_="unseen"), bar),
    )
