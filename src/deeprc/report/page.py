"""The whole page, from a run's journal and nothing else."""

from __future__ import annotations

import base64
import hashlib
import os
from importlib import resources
from pathlib import Path

from deeprc.journal import RunRecord, read_run
from deeprc.report.markup import Html, element, join
from deeprc.report.results import Results, results_of
from deeprc.report.sections.exchanges import exchanges_section
from deeprc.report.sections.failures import failures_section
from deeprc.report.sections.forecasts import forecasts_section
from deeprc.report.sections.header import header
from deeprc.report.sections.hydrographs import hydrographs_section
from deeprc.report.sections.ledger import ledger_section
from deeprc.report.sections.metrics import metrics_section
from deeprc.report.sections.provenance import environment_section, inputs_section, spec_section
from deeprc.report.sections.section import Section
from deeprc.report.sections.timeline import timeline_section
from deeprc.report.verdict import verdict_of

# Points that all lines of a page may have together, about 15 bytes each; a line keeps its shape with the fewest.
POINTS_ON_PAGE = 60_000
FEWEST_ON_LINE = 150


def write_report(run_directory: Path, path: Path) -> Path:
    """Write the run in `run_directory` as one self-contained HTML page; the same journal gives the same bytes.

    The page loads nothing from anywhere. A run that still goes on is shown as far as it is.

    Raises:
        JournalError: `run_directory` holds no run.
    """
    page = render(read_run(run_directory))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(page, encoding="utf-8", errors="replace")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def render(run: RunRecord) -> str:
    """The page as a string."""
    verdict = verdict_of(run)
    sections = _sections(run)
    script = _asset("report.js")
    body = element(
        "body",
        element("a", "Skip to the results", href="#main", class_="skip"),
        header(run, verdict, sections),
        element("main", [part.body for part in sections] or _nothing(), id="main"),
        element("footer", element("p", "Made by Deep RC from the run's journal.")),
        element("script", script),
    )
    return f"<!doctype html>\n{element('html', _head(verdict.name or verdict.run, script), body, lang='en')}\n"


def _sections(run: RunRecord) -> list[Section]:
    """Results first, then how the run went, then how to do it again; a task that failed comes before all."""
    results = results_of(run)
    points = _points_per_line(results)
    failures = failures_section(run, results.unreadable)
    lost = verdict_of(run).counted("failed") > 0
    sections = [
        failures if lost else None,
        forecasts_section(results, points),
        hydrographs_section(results, points),
        metrics_section(results),
        None if lost else failures,
        timeline_section(run),
        ledger_section(run),
        exchanges_section(run),
        inputs_section(run),
        environment_section(run),
        spec_section(run),
    ]
    return [part for part in sections if part is not None]


def _points_per_line(results: Results) -> int:
    """The most points a line may have so that all lines together keep to what the page may hold."""
    lengths = [len(plot.times) for plot in results.forecasts for _ in range(len(plot.forecasts) + 1)]
    lengths += [len(plot.times) for plot in results.hydrographs for _ in range(len(plot.simulated) + 2)]
    most = max(lengths, default=FEWEST_ON_LINE)
    while most > FEWEST_ON_LINE and sum(min(length, most) for length in lengths) > POINTS_ON_PAGE:
        most = int(most * 0.9)
    return max(most, FEWEST_ON_LINE)


def _head(title: str, script: Html) -> Html:
    """The policy lets the page's own script run and forbids all others and every request."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", f"{title} · Deep RC"),
        element("style", _asset("report.css")),
    )


def _asset(name: str) -> Html:
    return Html(resources.files("deeprc.report").joinpath(name).read_text(encoding="utf-8"))


def _nothing() -> Html:
    return join(element("p", "The journal holds no tasks and no results yet.", class_="lead"))
