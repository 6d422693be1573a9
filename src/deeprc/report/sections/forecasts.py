"""Forecasts against what happened: the best few models at first, the others at a click."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from deeprc.journal import ForecastPlot
from deeprc.journal.artifacts import Number
from deeprc.report.charts import Line, Mark, Panel, figure, line_styles, thin, time_axis
from deeprc.report.charts.figure import written
from deeprc.report.charts.scales import place
from deeprc.report.markup import Html, element, folded
from deeprc.report.results import Results, is_baseline
from deeprc.report.sections.section import Section, section

SHOWN_AT_FIRST = 3
UNFOLDED = 6
_LEAD = (
    f"The {SHOWN_AT_FIRST} models with the smallest mean absolute error (MAE) in each chart are "
    "drawn; switch the others on in its legend, where the number beside a name is its MAE."
)


def forecasts_section(results: Results, points: int) -> Section | None:
    """One chart a series, each line with about `points` points at the most."""
    plots = results.forecasts
    if not plots:
        return None
    styles = line_styles(_drawn_first(plots))
    drawn = [(plot, _chart(index, plot, styles, points)) for index, plot in enumerate(plots, 1)]
    ahead = [chart for plot, chart in drawn if is_ahead(plot)]
    past = [chart for plot, chart in drawn if not is_ahead(plot)]
    both = bool(ahead and past)
    return section(
        "forecasts",
        "Forecasts",
        "Forecasts against actuals" if past else "Forecasts",
        [element("h3", "Of what is not known yet") if both else None, *_some(ahead)],
        [element("h3", "Backtests") if both else None, *_some(past)],
        lead=_LEAD if past else "What the models forecast after the last known value.",
    )


def is_ahead(plot: ForecastPlot) -> bool:
    """Whether a plot shows what nobody knows yet: forecasts, and no actual value beside them."""
    after = (actual for time, actual in zip(plot.times, plot.actual, strict=False) if time > plot.cutoff)
    return bool(plot.cutoff) and all(actual is None for actual in after)


def _some(charts: list[Html]) -> list[Html]:
    """The first charts, and the others behind a line."""
    rest = charts[UNFOLDED:]
    return [*charts[:UNFOLDED], *([folded(f"{len(rest)} more series", rest)] if rest else [])]


def mean_absolute_error(plot: ForecastPlot, model: str) -> float | None:
    """MAE of a model over the times that the models had not seen, in the plot's unit; None without any."""
    pairs = zip(plot.times, plot.actual, plot.forecasts[model], strict=False)
    errors = [
        abs(actual - forecast)
        for time, actual, forecast in pairs
        if actual is not None and forecast is not None and (not plot.cutoff or time > plot.cutoff)
    ]
    return fmean(errors) if errors else None


def ranking(plot: ForecastPlot) -> list[tuple[str, float | None]]:
    """Models with their errors, best first; those without an error last."""
    errors = [(model, mean_absolute_error(plot, model)) for model in plot.forecasts]
    return sorted(errors, key=lambda pair: (pair[1] is None, pair[1] or 0.0, pair[0]))


def shown_at_first(plot: ForecastPlot) -> list[str]:
    """The best models of a chart; a baseline is no model."""
    return [model for model, _ in ranking(plot) if not is_baseline(model)][:SHOWN_AT_FIRST]


def _drawn_first(plots: Sequence[ForecastPlot]) -> list[str]:
    """Models that some chart draws at first, then the others, each by mean rank: the first get hues of their own."""
    drawn = {model for plot in plots for model in shown_at_first(plot)}
    ranks: dict[str, list[int]] = {}
    for plot in plots:
        for rank, (model, _) in enumerate(ranking(plot)):
            ranks.setdefault(model, []).append(rank)
    return sorted(ranks, key=lambda model: (model not in drawn, fmean(ranks[model]), model))


def _chart(index: int, plot: ForecastPlot, styles: Mapping[str, str], points: int) -> Html:
    ranked, ahead = ranking(plot), is_ahead(plot)
    shown = shown_at_first(plot)
    kept = thin([plot.actual, *plot.forecasts.values()], len(plot.times), points)

    def keep(values: Sequence[Number]) -> list[Number]:
        return [values[place] if place < len(values) else None for place in kept]

    actual = Line("Actual", keep(plot.actual), "actual")
    lines = [
        Line(model, keep(plot.forecasts[model]), styles[model], model in shown, written(error) if not ahead else "")
        for model, error in ranked
    ]
    low, high = _domain(actual.values, [line.values for line in lines])
    panel = Panel("", plot.unit, [actual, *lines], low, high)
    errors = ", ".join(f"{model} (MAE {written(error)})" for model, error in ranked[:SHOWN_AT_FIRST])
    told = "what followed is not known yet" if ahead else f"Smallest errors: {errors}"
    return figure(
        f"forecast-{index}",
        plot.title,
        time_axis([plot.times[place] for place in kept]),
        [panel],
        description=f"Actual values and forecasts of {len(lines)} models. {told}.",
        mark=_cutoff(plot),
        zoom=len(kept) > 100,
    )


def _cutoff(plot: ForecastPlot) -> Mark | None:
    at = place(plot.times, plot.cutoff) if plot.cutoff and plot.times else None
    return Mark(at, "forecast begins") if at is not None else None


def _domain(actual: Sequence[Number], forecasts: Sequence[Sequence[Number]]) -> tuple[float, float]:
    """Range of the actual values and, up to 0.6 of that range beyond it, of the forecasts.

    A model that went astray leaves the chart instead of flattening all others.
    """
    seen = [value for value in actual if value is not None]
    drawn = [value for values in forecasts for value in values if value is not None]
    if not seen:
        seen = drawn or [0.0, 1.0]
    low, high = min(seen), max(seen)
    span = (high - low) or abs(high) or 1.0
    below = max(min(drawn, default=low), low - 0.6 * span)
    above = min(max(drawn, default=high), high + 0.6 * span)
    bottom, top = min(low, below), max(high, above)
    air = 0.04 * (top - bottom) or 0.5 * span
    return (0.0 if 0 <= bottom < 0.5 * span else bottom - air), top + air
