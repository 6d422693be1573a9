"""Line charts as inline SVG with HTML axes: they stretch to any width while text and strokes keep their size."""

from deeprc.report.charts.figure import Line, Mark, Panel, figure
from deeprc.report.charts.scales import Tick, time_axis, value_ticks
from deeprc.report.charts.styles import line_styles
from deeprc.report.charts.thinning import thin

__all__ = ["Line", "Mark", "Panel", "Tick", "figure", "line_styles", "thin", "time_axis", "value_ticks"]
