"""The page's structure, read back with a parser: what stands where, and that nothing hostile gets through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deeprc.journal import ForecastPlot, Hydrograph, MetricTable, read_run
from deeprc.report import write_report
from deeprc.report.page import render
from tests.report.demo_journal import MODELS, TRACEBACK, demo_journal, hydrograph
from tests.report.journals import Hostile, Story, begin, crowded_journal, empty_journal, hostile_journal, live_journal
from tests.report.outline import Element, outline


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_journal(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def page(demo: Path) -> Element:
    return outline(render(read_run(demo)))


def rows(table: Element) -> list[list[str]]:
    body = table.one("tbody")
    return [[cell.text for cell in row.children] for row in body.all("tr")]


def captioned(page: Element, caption: str) -> Element:
    (table,) = [table for table in page.all("table") if table.one("caption").text == caption]
    return table


def test_sections_stand_in_order_and_the_navigation_leads_to_each(page: Element) -> None:
    """What failed comes first when a task failed, then results, then how the run went and how to redo it."""
    sections = [section.attributes["id"] for section in page.all("section")]
    assert sections == [
        *("failures", "forecasts", "hydrographs", "metrics", "timeline"),
        *("copies", "exchanges", "inputs", "environment", "spec"),
    ]
    links = [link.attributes["href"] for link in page.one("nav").all("a")]
    assert links == [f"#{section}" for section in sections]


def test_head_gives_the_verdict(page: Element) -> None:
    """Name, status, seconds, pilot, nodes and tasks by outcome stand at the top."""
    head = page.one("header").text
    assert page.one("h1").text == "demo"
    assert "Failed after" in head
    assert "local: 2 cores on 1 node" in head
    assert "15 succeeded, 1 failed, 2 cancelled" in head


def test_forecasts_show_actuals_and_the_best_three(page: Element) -> None:
    """Each chart begins with the actual values and the three models of smallest error, baselines aside."""
    charts = page.one("section", id="forecasts").all("figure")
    assert [chart.one("h3").text for chart in charts] == [f"Departures from {code}" for code in ("EWR", "JFK", "LGA")]
    for chart in charts:
        boxes = chart.all("input", type="checkbox")
        labels = [label.one("span").text for label in chart.all("label")]
        assert set(labels) == {"Actual", "SeasonalNaive", *MODELS}
        on = [label for label, box in zip(labels, boxes, strict=True) if "checked" in box.attributes]
        assert on == labels[:4] and on[0] == "Actual" and "SeasonalNaive" not in on
        errors = [float(label.one("small").text) for label in chart.all("label")[1:]]
        assert errors == sorted(errors)


def test_lines_have_gaps_where_values_are_absent(page: Element) -> None:
    """A missing hour breaks the line of the actual values in two; forecasts begin at the cutoff."""
    chart = page.all("figure")[0]
    paths = {path.attributes["data-line"]: path.attributes["d"] or "" for path in chart.all("path", class_="line")}
    assert paths["0"].count("M") == 2
    assert float(paths["1"].split("M")[1].split()[0]) > 850


def test_hydrographs_hang_precipitation_from_the_top(page: Element) -> None:
    """Rain stands in a panel above the discharge, its axis and bars growing downwards."""
    chart = page.one("section", id="hydrographs").all("figure")[0]
    rain, discharge = chart.one("div", class_="value-axes").all("div", class_="panel")
    assert rain.one("b").text == "Precipitation [mm/day]"
    assert discharge.one("b").text == "Discharge [m³/s]"
    tops = [float((label.attributes["style"] or "")[4:-1]) for label in rain.all("span")]
    assert rain.all("span")[0].text == "0" and tops[0] == 0 and tops == sorted(tops)
    tops = [float((label.attributes["style"] or "")[4:-1]) for label in discharge.all("span")]
    assert tops == sorted(tops, reverse=True)
    bars = chart.one("path", class_="rainfall").attributes["d"] or ""
    assert all(" 0v" in bar for bar in bars.split("M")[1:])


def test_baseline_simulations_wait_to_be_switched_on(page: Element) -> None:
    """Persistence and climatology are in the legend of a hydrograph, but off."""
    chart = page.one("section", id="hydrographs").all("figure")[0]
    on = {label.one("span").text: "checked" in label.one("input").attributes for label in chart.all("label")}
    assert on == {"Precipitation": True, "Observed": True, "LSTM": True, "persistence": False, "climatology": False}


def test_best_metric_of_each_column_stands_out_and_baselines_are_marked(page: Element) -> None:
    """Best is lowest or highest as the table says, within each river; a column without a direction has no best."""
    backtest = captioned(page, "Backtest of eleven models")
    best = [cell.text for cell in backtest.all("td", class_="best")]
    assert best == ["2.000 (best)", "2.900 (best)", "17.50 (best)", "0.610 (best)"]
    assert [row[0] for row in rows(backtest)][-1] == "SeasonalNaive baseline"
    rivers = captioned(page, "Rivers")
    assert [row[:3] for row in rows(rivers)] == [
        ["Fulda: LSTM", "0.842 (best)", "0.871"],
        ["Fulda: persistence baseline", "0.793", "0.895 (best)"],
        ["Fulda: climatology baseline", "0.214", "0.105"],
        ["Leaf River: LSTM", "0.768 (best)", "0.744 (best)"],
        ["Leaf River: persistence baseline", "0.402", "0.688"],
        ["Leaf River: climatology baseline", "0.061", "−0.120"],
    ]


def test_a_value_that_is_absent_is_a_dash(page: Element) -> None:
    """A metric that could not be computed is not written as a number."""
    (tcn,) = [row for row in rows(captioned(page, "Backtest of eleven models")) if row[0] == "TCN"]
    assert tcn[-1] == "–"


def test_timeline_has_a_lane_for_each_core_and_each_zygote(page: Element) -> None:
    """Ranks of one task stand in several lanes; failed attempts are marked; imports are shown."""
    timeline = page.one("div", class_="timeline")
    lanes = timeline.all("div", class_="lane")
    assert len(lanes) == 4
    assert [bar.text for bar in timeline.all("i", class_="zygote")] == ["imports tables", "imports torch"]
    assert len(timeline.all("i", class_="failed")) == 2
    keys = page.one("ul", class_="keys").text
    assert "fit (forecasting)" in keys and "fit (hydrology)" in keys
    river = [bar for bar in timeline.all("i") if bar.text == "train-river-lstm"]
    assert len(river) == 2
    labels = {bar.text for bar in timeline.all("i")}
    assert {"flights", "NBEATS", "Autoformer (2)"} <= labels


def test_every_task_stands_in_the_table(page: Element) -> None:
    """Tasks with state, ranks, communicator and times, in words."""
    table = captioned(page, "Tasks of the run, in order of submission")
    by_name = {row[0]: row[1:6] for row in rows(table)}
    assert len(by_name) == 18
    assert by_name["flights"] == ["succeeded", "2 mpi", "0 s", "1.80 s", "1.40 s"]
    assert by_name["forecast.Autoformer"][0] == "succeeded, 2 attempts"
    assert by_name["residual-note"][0] == "cancelled"


def test_ledger_gives_totals_and_reasons(page: Element) -> None:
    """Bytes shared and copied add up, ranks of a task summed, and each reason has its price."""
    copies = page.one("section", id="copies")
    assert "4.6 MB shared (43%)" in copies.text and "6.1 MB copied (57%)" in copies.text
    assert [item.text for item in copies.all("li")] == [
        "5.3 MB TensorFlow owns its buffers: 64-byte alignment was not met",
        "862 kB strings are encoded as numbers",
    ]
    entries = rows(captioned(page, "Columns handed to each framework, by task"))
    assert len(entries) == 3 * len(MODELS) + 1
    assert entries[-1][:6] == ["discharge", "train-river-lstm", "rivers", "tensorflow", "copied", "5.3 MB"]


def test_exchanges_are_summed_by_operator(page: Element) -> None:
    """Bytes of an operator are summed over ranks; seconds are the slowest rank's."""
    table = captioned(page, "Exchanges between ranks, by task and operator")
    assert rows(table)[0][:6] == ["join", "flights", "2", "2.5 MB", "2.5 MB", "32 ms"]


def test_failures_show_traceback_output_signal_and_dependents(page: Element) -> None:
    """What a user needs to find the fault stands open on the page."""
    lost, saved = page.one("section", id="failures").all("article")
    assert lost.one("h3").text == "residuals failed"
    assert lost.all("pre")[0].text.strip() == TRACEBACK.strip()
    assert "open" in lost.all("details")[0].attributes
    assert lost.all("pre")[1].text == "reading hourly\nlooking for gaps"
    assert [item.text for item in lost.all("li")] == [
        "residual-plot: it needs residuals, which failed",
        "residual-note: it needs residual-plot, which was cancelled",
    ]
    assert "succeeded on attempt 2" in saved.text
    assert "signal SIGKILL" in saved.text and "epoch 4/10 loss 0.398" in saved.text


def test_inputs_environment_and_spec_are_on_the_page(page: Element) -> None:
    """Files with fingerprints, versions and the frozen spec: enough to do it again."""
    first = rows(captioned(page, "Input files"))[0]
    assert first[0].endswith("flights.csv") and first[1] == "30.5 MB" and first[2] == "09f2c4e81b7d3a605" * 4
    environment = page.one("section", id="environment").text
    assert "3.11.2" in environment and "polars" in environment and "OMP_NUM_THREADS" in environment
    assert "5 by fork, 11 ms each in the median" in environment
    assert '"function": "demo.branches:hourly_departures"' in page.one("section", id="spec").text


def test_a_run_that_succeeded_has_no_failures(tmp_path: Path) -> None:
    """Sections without content are left out, of the page and of its navigation."""
    page = outline(render(read_run(crowded_journal(tmp_path / "crowd", tasks=30))))
    assert [section.attributes["id"] for section in page.all("section")] == ["timeline", "environment"]


def test_hundreds_of_tasks_fit(tmp_path: Path) -> None:
    """600 tasks on 32 cores: every one has its bar, the table is folded, the page stays small."""
    written = render(read_run(crowded_journal(tmp_path / "crowd")))
    page = outline(written)
    timeline = page.one("div", class_="timeline")
    assert len(timeline.all("div", class_="lane")) == 32
    assert len(timeline.all("i", class_="bar")) == 600
    assert "open" not in page.one("section", id="timeline").all("details")[0].attributes
    assert "5 other functions" in page.one("ul", class_="keys").text
    assert len(written) < 600_000


def test_many_long_rivers_keep_the_page_small(tmp_path: Path) -> None:
    """Forty rivers of ten years: lines are thinned, most charts folded, the highest peak is kept."""
    story = Story(tmp_path)
    begin(story)
    longest = hydrograph("Fulda", days=3650)
    for number in range(40):
        story.leave(1, "rivers", Hydrograph(f"River {number}", *list(vars(longest).values())[1:]))
    written = render(read_run(tmp_path))
    assert len(written) < 1_500_000
    page = outline(written)
    assert "36 more rivers" in page.one("section", id="hydrographs").text
    highest = max(value for value in longest.observed if value is not None)
    assert f"{highest:.4g}".rstrip("0") in page.all("figure")[0].one("script").text


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    """A run without any event says so."""
    page = outline(render(read_run(empty_journal(tmp_path / "empty"))))
    assert "no tasks and no results yet" in page.one("main").text


def test_a_run_that_goes_on_has_a_page(tmp_path: Path) -> None:
    """The state so far, with the progress of what runs."""
    page = outline(render(read_run(live_journal(tmp_path / "live"))))
    assert "Not finished" in page.one("header").text
    states = {row[0]: row[1] for row in rows(page.one("table", class_="tasks"))}
    assert states == {"clean": "succeeded", "fit": "running 3/10 epoch 3", "judge": "waiting"}


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """No name, message, traceback or output of a run becomes markup, nor can it end a block of the page."""
    path = write_report(hostile_journal(tmp_path / "hostile"), tmp_path / "report.html")
    page = outline(path.read_text(encoding="utf-8"))
    assert not page.all("img")
    kinds = {script.attributes.get("type") for script in page.all("script")}
    assert kinds == {"application/json", None}
    assert len([script for script in page.all("script") if script.attributes.get("type") is None]) == 1
    assert not [element for element in page.all("i") + page.all("a") if "onerror" in element.attributes]
    evil = Hostile()
    assert page.one("h1").text.startswith(evil.script + evil.image + evil.block)
    assert "\x1b" not in page.text and "\x00" not in page.text


def test_page_loads_nothing(demo: Path) -> None:
    """No address of another server stands where a browser would fetch it, and the policy forbids it."""
    written = render(read_run(demo))
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", written)
    assert "@import" not in written and "url(" not in written
    policy = outline(written).one("meta", http_equiv="Content-Security-Policy").attributes["content"] or ""
    assert policy.startswith("default-src 'none'")


def test_page_is_the_same_each_time(demo: Path, tmp_path: Path) -> None:
    """The same journal gives the same bytes, small enough to send by mail; no temporary file is left."""
    first = write_report(demo, tmp_path / "a" / "report.html")
    second = write_report(demo, tmp_path / "b.html")
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 700_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.html"]


def test_a_damaged_artifact_costs_only_its_own_picture(tmp_path: Path) -> None:
    """An artifact that is gone or broken is named under warnings; all else is shown."""
    run = demo_journal(tmp_path / "demo")
    (run / "artifacts" / "0001.json").unlink()
    (run / "artifacts" / "0002.json").write_text("{")
    page = outline(render(read_run(run)))
    assert len(page.one("section", id="forecasts").all("figure")) == 1
    assert page.one("section", id="failures").text.count("An artifact can't be shown") == 2


def test_values_that_are_no_numbers_do_not_break_a_chart(tmp_path: Path) -> None:
    """NaN and infinity are gaps, in lines and in tables; a series of nothing is an empty chart."""
    story = Story(tmp_path)
    begin(story)
    nan, infinity = float("nan"), float("inf")
    times = ["2000-01-01", "2000-01-02", "2000-01-03"]
    story.leave(1, "t", Hydrograph("a", "m³/s", times, [nan, 2.0, infinity], {"LSTM": [1.0, nan, 2.0]}))
    story.leave(1, "t", Hydrograph("b", "m³/s", times, [None] * 3, {}, [0.0, 0.0, 0.0]))
    story.leave(1, "t", Hydrograph("c", "m³/s", [], [], {}))
    story.leave(1, "t", MetricTable("m", ["NSE"], {"x": [nan], "y": []}, ["higher"]))
    page = outline(render(read_run(tmp_path)))
    assert len(page.all("figure")) == 3
    assert [row[1] for row in rows(captioned(page, "m"))] == ["–", "–"]


def test_what_is_not_known_yet_comes_before_backtests(tmp_path: Path) -> None:
    """Forecasts of the future are not hidden behind more backtests than are unfolded, and show no error."""
    story = Story(tmp_path)
    begin(story)
    times = [f"2024-01-{day:02}" for day in range(1, 9)]
    values: list[float | None] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    for number in range(7):
        story.leave(1.0, "evaluate", ForecastPlot(f"back {number}", "MW", times, values, {"GRU": values}, times[3]))
    known = [*values[:4], *[None] * 4]
    story.leave(2.0, "predict", ForecastPlot("ahead", "MW", times, known, {"GRU": values}, times[3]))
    story.writer.close()
    page = outline(render(read_run(tmp_path)))
    (forecasts,) = [part for part in page.all("section") if part.attributes["id"] == "forecasts"]
    text = forecasts.text
    assert text.index("Of what is not known yet") < text.index("ahead") < text.index("Backtests") < text.index("back 0")
    assert [detail.one("summary").text for detail in forecasts.all("details")].count("1 more series") == 1
    assert "what followed is not known yet" in render(read_run(tmp_path))
