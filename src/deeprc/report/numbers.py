"""Whether numbers, and texts with numbers in them, are the same within a tolerance."""

from __future__ import annotations

import math
import re
from typing import Any

_NUMBER = re.compile(r"(?<![\w.])[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w])")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+\b")


def same_numbers(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two values are equal, or differ by at most `tolerance` times the larger of them; None equals None."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b or math.isclose(a, b, rel_tol=tolerance) or (math.isnan(a) and math.isnan(b))
    return bool(a == b)


def same_texts(a: str, b: str, tolerance: float) -> bool:
    """Whether two texts have the same words and, in the same places, the same numbers; addresses do not count."""
    first, second = _ADDRESS.sub("0x", a), _ADDRESS.sub("0x", b)
    if first == second:
        return True
    if _NUMBER.sub("#", first) != _NUMBER.sub("#", second):
        return False
    pairs = zip(_NUMBER.findall(first), _NUMBER.findall(second), strict=True)
    return all(same_numbers(float(one), float(other), tolerance) for one, other in pairs)
