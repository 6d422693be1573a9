"""Hydrographs: simulated discharge over the observed, precipitation hanging from the top as hydrologists draw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deeprc.journal import Hydrograph
from deeprc.journal.artifacts import Number
from deeprc.report.charts import Line, Panel, figure, line_styles, thin, time_axis
from deeprc.report.charts.figure import domain
from deeprc.report.markup import Html, folded
from deeprc.report.results import Results, is_baseline
from deeprc.report.sections.section import Section, section

SHOWN_AT_FIRST = 2
UNFOLDED = 4


def hydrographs_section(results: Results, points: int) -> Section | None:
    """One chart a river, each line with about `points` points at the most."""
    if not results.hydrographs:
        return None
    names = [name for plot in results.hydrographs for name in plot.simulated]
    # The first hue is a blue, which precipitation has already.
    styles = line_styles(names, first_hue=2)
    # Forecasts past the last observation first: what the others are for.
    plots = sorted(results.hydrographs, key=lambda plot: not is_ahead(plot))
    charts = [_chart(index, plot, styles, points) for index, plot in enumerate(plots, 1)]
    rest = charts[UNFOLDED:]
    return section(
        "hydrographs",
        "Rivers",
        "Hydrographs",
        charts[:UNFOLDED],
        folded(f"{len(rest)} more rivers", rest) if rest else None,
        lead="Discharge over days that the models were not trained on, or around those that they forecast. "
        "Precipitation, where it is known, hangs from the top.",
    )


def is_ahead(plot: Hydrograph) -> bool:
    """Whether it ends in days that are simulated and not observed."""
    return (
        bool(plot.observed)
        and plot.observed[-1] is None
        and any(line[-1] is not None for line in plot.simulated.values() if line)
    )


def _chart(index: int, plot: Hydrograph, styles: Mapping[str, str], points: int) -> Html:
    kept = thin([plot.observed, *plot.simulated.values(), plot.precipitation], len(plot.times), points)

    def keep(values: Sequence[Number]) -> list[Number]:
        return [values[place] if place < len(values) else None for place in kept]

    observed = Line("Observed", keep(plot.observed), "actual")
    simulated = _simulated({name: keep(values) for name, values in plot.simulated.items()}, styles)
    low, high = domain([observed.values, *(line.values for line in simulated)], from_zero=True)
    discharge = Panel("Discharge", plot.unit, [observed, *simulated], low, high)
    return figure(
        f"hydrograph-{index}",
        plot.title,
        time_axis([plot.times[place] for place in kept]),
        [*_rain(plot, keep(plot.precipitation)), discharge],
        description=f"Observed discharge and {', '.join(plot.simulated) or 'no simulation'}.",
        zoom=True,
    )


def _simulated(values: Mapping[str, Sequence[Number]], styles: Mapping[str, str]) -> list[Line]:
    """Models first and drawn; baselines wait to be switched on, unless there is nothing else."""
    models = [name for name in values if not is_baseline(name)]
    shown = set(models[:SHOWN_AT_FIRST] or list(values)[:1])
    ordered = [*models, *(name for name in values if is_baseline(name))]
    return [
        Line(name, values[name], styles[name], name in shown, "baseline" if is_baseline(name) else "")
        for name in ordered
    ]


def _rain(plot: Hydrograph, values: Sequence[Number]) -> list[Panel]:
    known = [value for value in values if value is not None]
    if not known:
        return []
    line = Line("Precipitation", values, "rainfall")
    return [Panel("Precipitation", plot.precipitation_unit, [line], 0.0, max(known) * 1.08 or 1.0, inverted=True)]
