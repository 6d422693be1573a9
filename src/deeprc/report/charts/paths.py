"""Numbers to SVG path data in a box of 1000 by 1000."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deeprc.journal.artifacts import Number


def line_path(positions: Sequence[float], values: Sequence[Number], low: float, high: float) -> str:
    """A line through the values; it is broken where one is None, and a lone value is a dot."""
    pieces: list[str] = []
    pen_down = False
    for index, (position, value) in enumerate(zip(positions, values, strict=False)):
        if value is None:
            pen_down = False
            continue
        point = f"{_short(position * 1000)} {_short(_height(value, low, high))}"
        follows = index + 1 < len(values) and values[index + 1] is not None
        pieces.append(("L" if pen_down else "M") + point + ("" if pen_down or follows else "h0"))
        pen_down = True
    return "".join(pieces)


def bars_down_path(positions: Sequence[float], values: Sequence[Number], low: float, high: float) -> str:
    """Bars that hang from the top edge: their length is the value."""
    width = 900 / max(1, len(positions))
    pieces = [
        f"M{_short(position * 1000 - width / 2)} 0v{_short(1000 - _height(value, low, high))}h{_short(width, 2)}V0z"
        for position, value in zip(positions, values, strict=False)
        if value
    ]
    return "".join(pieces)


def grid_path(heights: Iterable[float]) -> str:
    """Horizontal lines at distances from the top, 0 to 1."""
    return "".join(f"M0 {height * 1000:.1f}H1000" for height in heights)


def _height(value: float, low: float, high: float) -> float:
    """Distance from the top; values far off the scale end just outside the box."""
    share = (value - low) / (high - low) if high > low else 0.5
    return 1000 * (1 - min(1.5, max(-0.5, share)))


def _short(value: float, places: int = 1) -> str:
    return f"{value:.{places}f}".rstrip("0").rstrip(".") if places else f"{value:.0f}"
