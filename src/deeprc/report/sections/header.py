"""The head of the page: which run, how it ended, and the numbers one asks for first."""

from __future__ import annotations

from collections.abc import Sequence

from deeprc.journal import RunRecord
from deeprc.report import formats
from deeprc.report.markup import Html, Node, element
from deeprc.report.sections.section import Section
from deeprc.report.summary import transferred_bytes
from deeprc.report.verdict import Verdict

_WORDS = {
    "succeeded": "Succeeded",
    "failed": "Failed",
    "interrupted": "Interrupted",
    "unfinished": "Not finished",
}
_EXPLAINED = {
    "interrupted": "The run was ended before all of its tasks were done.",
    "unfinished": "The journal has no end: the run still goes on, or its driver was ended.",
}


def header(run: RunRecord, verdict: Verdict, sections: Sequence[Section]) -> Html:
    """Title, verdict, key numbers and links to the sections."""
    links = [element("li", element("a", part.short, href=f"#{part.identity}")) for part in sections]
    explained = _EXPLAINED.get(verdict.status)
    return element(
        "header",
        element("p", "Deep RC run ", element("code", verdict.run), class_="kicker"),
        element("h1", verdict.name or verdict.run),
        element("p", _verdict(verdict), class_="verdict"),
        element("p", explained, class_="note") if explained else None,
        element("dl", [_number(term, value) for term, value in _numbers(run, verdict)], class_="numbers"),
        element("nav", element("ul", links), aria_label="Sections") if links else None,
    )


def _verdict(verdict: Verdict) -> list[Node]:
    word = _WORDS.get(verdict.status, verdict.status)
    when = f" {formats.instant(verdict.started)}" if verdict.started else ""
    took = f" {'in' if verdict.status == 'succeeded' else 'after'} {formats.seconds(verdict.seconds)}"
    return [element("strong", word, class_=f"badge {verdict.status}"), f"{took}, started{when}" if when else took]


def _numbers(run: RunRecord, verdict: Verdict) -> list[tuple[str, str]]:
    where = formats.count(verdict.cores, "core") + " on " + formats.count(verdict.nodes, "node")
    busy = f", {verdict.busy_share:.0%} busy" if verdict.busy_share is not None else ""
    sent = sum(int(event.get("bytes_sent") or 0) for event in run.of_kind("exchange"))
    return [
        ("Tasks", _task_counts(verdict)),
        ("Allocation", f"{verdict.pilot}: {where}{busy}" if verdict.nodes else formats.ABSENT),
        ("Ranks started", f"{verdict.ranks_started:,}"),
        ("Shared without a copy", formats.size(transferred_bytes(run, "shared"))),
        ("Copied", formats.size(transferred_bytes(run, "copied"))),
        ("Exchanged by ranks", formats.size(sent)),
    ]


def _task_counts(verdict: Verdict) -> str:
    order = ("succeeded", "failed", "cancelled", "running", "waiting")
    counts = [f"{verdict.counted(status)} {status}" for status in order if verdict.counted(status)]
    return ", ".join(counts) or "none yet"


def _number(term: str, value: str) -> Html:
    return element("div", element("dt", term), element("dd", value))
