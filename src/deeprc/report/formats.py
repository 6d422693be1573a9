"""How the page writes quantities: always with a unit, never with more digits than they deserve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

ABSENT = "–"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def seconds(value: float | None) -> str:
    """Write a duration in s: "12 ms", "3.42 s", "1 min 05 s", "2 h 03 min"."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value < 0.0005:
        return "0 s"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 59.95:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(num_bytes: float) -> str:
    """Write a number of bytes in decimal units: "512 B", "1.5 MB"."""
    value = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= 99.95 else f"{value:.1f} {unit}"


def number(value: float | None, digits: int = 4) -> str:
    """Write a number with `digits` significant digits and grouped thousands."""
    if value is None or not math.isfinite(value):
        return ABSENT
    magnitude = abs(value)
    if magnitude and not 1e-4 <= magnitude < 1e9:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    places = max(0, digits - 1 - math.floor(math.log10(magnitude))) if magnitude else 0
    return tidy(f"{value:,.{places}f}")


def tidy(written: str) -> str:
    """Drop the zeros after the point and use a true minus sign."""
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    return "0" if written in {"-0", ""} else written.replace("-", "−")


def decimals(values: Iterable[float | None]) -> int | None:
    """Decimal places that suit a whole column, so that its points stand below one another.

    None where no fixed number of places would do (values too small or too large).
    """
    magnitudes = [abs(value) for value in values if value is not None and math.isfinite(value)]
    if all(float(value).is_integer() for value in magnitudes):
        return 0
    largest = max(magnitudes)
    if not 1e-3 <= largest < 1e9:
        return None
    return max(0, (3 if largest >= 1 else 2) - math.floor(math.log10(largest)))


def fixed(value: float | None, places: int | None) -> str:
    """Write a number with fixed decimal places, see `decimals`."""
    if value is None or not math.isfinite(value) or places is None:
        return number(value)
    return f"{value:,.{places}f}".replace("-", "−")


def count(value: int, noun: str, plural: str = "") -> str:
    """Write "1 task", "2 tasks"."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def instant(epoch: float) -> str:
    """Write seconds since the epoch as a UTC date and time."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
