"""Durations and sizes as people write them: "90s", "1h 30m", "512 MiB"."""

from __future__ import annotations

import re

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"B": 1, **{f"{prefix}iB": 1024 ** (power + 1) for power, prefix in enumerate("KMGT")}} | {
    f"{prefix}B": 1000 ** (power + 1) for power, prefix in enumerate(("k", "M", "G", "T"))
}
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


def seconds(given: object) -> object:
    """Seconds of a duration like "10m" or "1h 30m"; what is not text is returned as it is.

    Raises:
        ValueError: text that is no duration.
    """
    if not isinstance(given, str):
        return given
    return _sum(given, SECONDS, "a duration such as '90s', '10m' or '1h 30m'")


def walltime_seconds(given: object) -> object:
    """Seconds of a duration like "2h", or of one as batch systems write it: "2:00:00", "1-12:00:00".

    Raises:
        ValueError: text that is neither.
    """
    match = _CLOCK.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        return seconds(given)
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return float(days * 86400 + hours * 3600 + minutes * 60 + rest)


def size_bytes(given: object) -> object:
    """Bytes of a size like "2GiB" or "500 MB"; what is not text is returned as it is.

    Raises:
        ValueError: text that is no size.
    """
    if not isinstance(given, str):
        return given
    return int(_sum(given, BYTES, "a size such as '512MiB' or '2GiB'"))


def _sum(text: str, units: dict[str, float] | dict[str, int], meaning: str) -> float:
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip() or any(unit not in units for _, unit in parts):
        raise ValueError(f"takes {meaning} (units: {', '.join(units)}), got {text!r}")
    return sum(float(number) * units[unit] for number, unit in parts)
