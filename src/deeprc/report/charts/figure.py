"""One figure: panels over a common time axis, a legend that switches lines, values under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deeprc.journal.artifacts import Number
from deeprc.report import formats
from deeprc.report.charts.frame import frame, spoken, zoom_buttons
from deeprc.report.charts.paths import bars_down_path, grid_path, line_path
from deeprc.report.charts.scales import Tick, TimeAxis, value_ticks
from deeprc.report.markup import Html, Node, data_block, element

# With more points than this, strokes are thinner until the reader zooms in.
DENSE_FROM = 400


@dataclass(frozen=True)
class Line:
    """One line; `style` holds CSS classes, `note` stands beside the name in the legend."""

    name: str
    values: Sequence[Number]
    style: str
    shown: bool = True
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """Lines over one value axis from `low` to `high`; `inverted` bars hang from the top, as rain does."""

    title: str
    unit: str
    lines: Sequence[Line]
    low: float
    high: float
    inverted: bool = False


@dataclass(frozen=True)
class Mark:
    """A moment to point out, 0 to 1 on the time axis: all after it is shaded."""

    at: float
    label: str


@dataclass(frozen=True)
class _Switch:
    """A line, its number in the figure and the panel it is drawn in."""

    index: int
    panel: Panel
    line: Line


def figure(
    identity: str,
    title: str,
    axis: TimeAxis,
    panels: Sequence[Panel],
    *,
    description: str,
    mark: Mark | None = None,
    zoom: bool = False,
) -> Html:
    """Draw panels above one another. Values at None are gaps; `description` is read out instead of the lines."""
    numbered = _numbered(panels)
    legend = [_legend_entry(identity, switch) for switch in numbered]
    plots = [_plot(panel, axis, numbered, mark, description) for panel in panels]
    scales = [_value_axis(panel) for panel in panels]
    corner = element("div", class_="corner")
    return element(
        "figure",
        element("figcaption", element("h3", title), element("p", axis.span, class_="span")),
        element("div", legend, class_="legend", role="group", aria_label=f"Lines of {title}"),
        _tools(zoom, any(not switch.line.shown for switch in numbered)),
        frame(
            element("div", scales, corner, class_="value-axes", aria_hidden="true"),
            [plots, _time_labels(axis.ticks)],
            label=f"{title}: left and right arrow keys read out values",
        ),
        spoken(),
        data_block(_hover_data(axis, numbered)),
        class_="chart dense" if len(axis.positions) > DENSE_FROM else "chart",
        id=identity,
        data_chart=True,
    )


def _numbered(panels: Sequence[Panel]) -> list[_Switch]:
    lines = [(panel, line) for panel in panels for line in panel.lines]
    return [_Switch(index, panel, line) for index, (panel, line) in enumerate(lines)]


def _legend_entry(identity: str, switch: _Switch) -> Html:
    line = switch.line
    swatch = Html('<svg class="swatch" viewBox="0 0 24 8" aria-hidden="true"><path d="M1 4H23"/></svg>')
    box = element(
        "input",
        type="checkbox",
        id=f"{identity}-line-{switch.index}",
        data_line=switch.index,
        data_first=line.shown,
        checked=line.shown,
        autocomplete="off",
    )
    note = element("small", line.note) if line.note else None
    return element("label", box, swatch, element("span", line.name), note, class_=f"chip {line.style}")


def _tools(zoom: bool, choice: bool) -> Html | None:
    """Buttons that work on the whole figure; the page's script brings them to life."""
    buttons: list[Node] = []
    if choice:
        buttons.append(element("button", "Show all", type="button", data_all=True, aria_pressed="false"))
    if zoom:
        buttons += zoom_buttons()
    return element("div", buttons, class_="tools") if buttons else None


def _plot(panel: Panel, axis: TimeAxis, numbered: Sequence[_Switch], mark: Mark | None, description: str) -> Html:
    drawn = [_drawn(panel, axis, switch) for switch in numbered if switch.panel is panel]
    grid = element("path", d=grid_path(tick.at for tick in _ticks(panel)), class_="grid")
    times = element("path", d=_time_grid(axis.ticks), class_="grid")
    svg = element(
        "svg",
        grid,
        times,
        drawn,
        viewBox="0 0 1000 1000",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{_value_label(panel)}. {description}",
    )
    marks = None
    if mark is not None:
        label = element("span", mark.label, class_="before" if mark.at > 0.5 else "after")
        marks = element("div", None if panel.inverted else label, class_="mark", style=f"left:{mark.at * 100:.2f}%")
    return element("div", svg, marks, class_="panel rain" if panel.inverted else "panel")


def _drawn(panel: Panel, axis: TimeAxis, switch: _Switch) -> Html:
    draw = bars_down_path if panel.inverted else line_path
    path = draw(axis.positions, switch.line.values, panel.low, panel.high)
    state = "" if switch.line.shown else " off"
    return element("path", d=path, class_=f"line {switch.line.style}{state}", data_line=switch.index)


def _time_grid(ticks: Sequence[Tick]) -> str:
    return "".join(f"M{tick.at * 1000:.1f} 0V1000" for tick in ticks if tick.level < 2)


def _ticks(panel: Panel) -> list[Tick]:
    """Value ticks as distances from the top, 0 to 1."""
    ticks = value_ticks(panel.low, panel.high, 2 if panel.inverted else 5)
    return [Tick(tick.at if panel.inverted else 1 - tick.at, tick.label) for tick in ticks]


def _value_axis(panel: Panel) -> Html:
    labels = [element("span", tick.label, style=f"top:{tick.at * 100:.2f}%") for tick in _ticks(panel)]
    return element("div", element("b", _value_label(panel)), labels, class_="panel rain" if panel.inverted else "panel")


def _value_label(panel: Panel) -> str:
    return f"{panel.title} [{panel.unit}]" if panel.title and panel.unit else panel.title or panel.unit


def _time_labels(ticks: Sequence[Tick]) -> Html:
    labels = [
        element("span", tick.label, class_=_label_class(tick), style=f"left:{tick.at * 100:.2f}%") for tick in ticks
    ]
    return element("div", labels, class_="time-axis", aria_hidden="true")


def _label_class(tick: Tick) -> str:
    """A label at either end is moved inwards, so that the frame does not cut it off."""
    edge = " at-start" if tick.at < 0.02 else " at-end" if tick.at > 0.98 else ""
    return f"level-{tick.level}{edge}"


def _hover_data(axis: TimeAxis, numbered: Sequence[_Switch]) -> dict[str, Any]:
    return {
        "x": [round(position, 4) for position in axis.positions],
        "t": axis.labels,
        "lines": [
            {
                "name": switch.line.name,
                "unit": switch.panel.unit,
                "style": switch.line.style,
                "v": [None if value is None else _short(value) for value in switch.line.values],
            }
            for switch in numbered
        ],
    }


def _short(value: float) -> float:
    """Four significant digits, in few characters."""
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def domain(lines: Sequence[Sequence[Number]], *, from_zero: bool) -> tuple[float, float]:
    """Range of values that shows all of `lines`, with a little air; from 0 for quantities that can't be less."""
    known = [value for values in lines for value in values if value is not None]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    air = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
    return (0.0 if from_zero and low >= 0 else low - air), high + air


def written(value: Number) -> str:
    """A value as the legend writes it."""
    return formats.number(value, 3)
