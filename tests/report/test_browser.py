"""The page in a real browser: no console message, no sideways scrolling, controls that do what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deeprc.report import write_report
from tests.report.browser import CHROMIUM, DRIVER, Browser
from tests.report.demo_journal import demo_journal
from tests.report.journals import crowded_journal, empty_journal, hostile_journal, live_journal

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)",
)
DESKTOP, PHONE = 1280, 390
ARROW_RIGHT, END = "\ue014", "\ue010"
Make = Callable[[Path], Path]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    session = Browser(tmp_path_factory.mktemp("profile"))
    yield session
    session.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return write_report(demo_journal(folder / "demo"), folder / "report.html")


@pytest.mark.parametrize("make", [demo_journal, crowded_journal, live_journal, empty_journal, hostile_journal])
def test_every_page_is_quiet_and_fits_at_both_widths(browser: Browser, tmp_path: Path, make: Make) -> None:
    """No console message, no request, and nothing wider than the screen, on a desktop and on a phone."""
    page = write_report(make(tmp_path / "run"), tmp_path / "report.html")
    for width in (DESKTOP, PHONE):
        browser.look(width)
        browser.open(page)
        browser.script("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        inner, scroll = browser.script("return [innerWidth, document.scrollingElement.scrollWidth]")
        assert (inner, scroll <= inner) == (width, True)
        assert browser.script("return performance.getEntriesByType('resource').map((entry) => entry.name)") == []
        assert browser.messages() == []


def test_hostile_text_does_not_run(browser: Browser, tmp_path: Path) -> None:
    """Scripts in names and tracebacks are shown, not run, also in what the pointer brings up."""
    browser.look(DESKTOP)
    browser.open(write_report(hostile_journal(tmp_path / "run"), tmp_path / "report.html"))
    browser.press(".timeline .viewport", ARROW_RIGHT)
    browser.press("#forecast-1 .viewport", ARROW_RIGHT)
    assert browser.script("return document.title") != "owned"
    assert browser.script("return document.images.length") == 0
    assert "<script>" in browser.script("return document.querySelector('.timeline .readout').textContent")


def test_legend_switches_lines(browser: Browser, demo: Path) -> None:
    """A click on a name shows and hides its line; "Show all" shows every line and takes it back."""
    browser.look(DESKTOP)
    browser.open(demo)
    drawn = """return [...document.querySelectorAll('#forecast-1 path[data-line]')]
        .filter((path) => getComputedStyle(path).display !== 'none').map((path) => Number(path.dataset.line))"""
    assert browser.script(drawn) == [0, 1, 2, 3]
    browser.click("#forecast-1 label:nth-child(6)")
    assert browser.script(drawn) == [0, 1, 2, 3, 5]
    browser.click("#forecast-1 label:nth-child(1)")
    assert browser.script(drawn) == [1, 2, 3, 5]
    browser.press("#forecast-1-line-0", " ")
    assert browser.script(drawn) == [0, 1, 2, 3, 5]
    browser.click("#forecast-1 [data-all]")
    assert browser.script(drawn) == list(range(13))
    browser.click("#forecast-1 [data-all]")
    assert browser.script(drawn) == [0, 1, 2, 3]


def test_arrow_keys_read_out_values(browser: Browser, demo: Path) -> None:
    """A chart is usable without a pointer: the values under the cursor are shown and spoken."""
    browser.look(DESKTOP)
    browser.open(demo)
    browser.press("#hydrograph-1 .viewport", END)
    readout = browser.script("return document.querySelector('#hydrograph-1 .readout').innerText")
    assert readout.startswith("1 Oct 1999") and "Observed" in readout and "m³/s" in readout
    assert "persistence" not in readout
    assert browser.script("return document.querySelector('#hydrograph-1 .spoken').textContent").startswith("1 Oct 1999")


def test_zoom_widens_the_chart_in_its_own_box(browser: Browser, demo: Path) -> None:
    """Zooming scrolls inside the chart, adds labels, goes to the forecast, and never widens the page."""
    browser.look(PHONE)
    browser.open(demo)
    browser.click("#forecast-1 [data-zoom=in]")
    browser.click("#forecast-1 [data-zoom=in]")
    stretch, viewport, scrolled = browser.script(
        """const viewport = document.querySelector('#forecast-1 .viewport');
        return [viewport.firstElementChild.offsetWidth, viewport.clientWidth, viewport.scrollLeft]"""
    )
    assert stretch == pytest.approx(4 * viewport, abs=2)
    assert scrolled > 2.5 * viewport
    assert browser.script("return document.scrollingElement.scrollWidth") == PHONE
    browser.click("#forecast-1 [data-zoom=out]")
    browser.click("#forecast-1 [data-zoom=out]")
    assert browser.script("return document.querySelector('#forecast-1 [data-zoom=out]').disabled")


def test_timeline_tells_of_each_task(browser: Browser, demo: Path) -> None:
    """Arrow keys go through the bars; a task's bars on all its cores light up together."""
    browser.look(DESKTOP)
    browser.open(demo)
    for _ in range(3):
        browser.press(".timeline .viewport", ARROW_RIGHT)
    readout = browser.script("return document.querySelector('.timeline .readout').innerText")
    assert readout.split("\n")[0] == "flights"
    assert "2 ranks, mpi, queued 1.80 s" in readout and "succeeded after 1.40 s" in readout
    assert browser.script("return document.querySelectorAll('.timeline .bar.lit').length") == 2


def test_headings_sort_tables(browser: Browser, demo: Path) -> None:
    """A click sorts by a column, a second one the other way round; absent values stay last."""
    browser.look(DESKTOP)
    browser.open(demo)
    first_and_last = """const rows = document.querySelector('table.metrics').tBodies[0].rows;
        return [rows[0].cells[0].innerText, rows[rows.length - 1].cells[0].innerText]"""
    heading = "table.metrics th:nth-child(5) button"
    browser.click(heading)
    assert browser.script(first_and_last) == ["NBEATS", "TCN"]
    browser.click(heading)
    first, last = browser.script(first_and_last)
    assert first.startswith("SeasonalNaive") and last == "TCN"
    sorted_by = "return document.querySelector('table.metrics [aria-sort]').getAttribute('aria-sort')"
    assert browser.script(sorted_by) == "descending"


def test_text_is_readable_in_light_and_dark(browser: Browser, demo: Path) -> None:
    """Text stands out from its ground by at least 4.5 to 1, lines and bars by 3 to 1 (WCAG AA)."""
    contrast = """const style = getComputedStyle(document.documentElement);
        const light = (name) => {
          const hex = style.getPropertyValue(name).trim();
          const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
            .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        return arguments[0].map(([front, back]) => {
          const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
          return [front, back, (high + 0.05) / (low + 0.05)];
        })"""
    texts = [(f"--{name}", "--paper") for name in ("ink", "soft", "accent", "good", "bad", "warn")]
    texts += [("--on-deep", f"--{fill}") for fill in ("hue-1", "hue-4", "hue-5", "hue-6", "grey")]
    texts += [("--on-bright", "--hue-2"), ("--on-bright", "--hue-3")]
    lines = [(f"--hue-{hue}", ground) for hue in range(1, 7) for ground in ("--paper", "--after")]
    for dark in (False, True):
        browser.look(DESKTOP, dark=dark)
        browser.open(demo)
        ground = browser.script("return getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(20, 23, 26)") is dark
        for pairs, least in ((texts, 4.5), (lines, 3.0)):
            weak = [entry for entry in browser.script(contrast, pairs) if entry[2] < least]
            assert weak == [], f"dark: {dark}"


def test_every_control_has_a_name(browser: Browser, demo: Path) -> None:
    """Buttons, boxes, pictures, tables and scroll boxes say what they are to a screen reader."""
    browser.look(DESKTOP)
    browser.open(demo)
    nameless = browser.script(
        """return [...document.querySelectorAll('button, input, svg[role=img], [role=group], [role=region], table')]
        .filter((node) => !(node.getAttribute('aria-label') || node.textContent.trim() || node.labels?.[0]?.innerText))
        .map((node) => node.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    twice = browser.script(
        """const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
        return ids.filter((id, index) => ids.indexOf(id) !== index)"""
    )
    assert twice == []


def test_a_picture_can_be_taken(browser: Browser, demo: Path, tmp_path: Path) -> None:
    """The whole page can be kept as a PNG, as the README does."""
    browser.look(DESKTOP)
    browser.open(demo)
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
