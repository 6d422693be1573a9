"""Long series are drawn with fewer points, chosen so that no peak and no low is lost."""

from __future__ import annotations

from collections.abc import Sequence

from deeprc.journal.artifacts import Number


def thin(series: Sequence[Sequence[Number]], length: int, points: int) -> list[int]:
    """Indices to keep of `length` points: in each stretch the highest and lowest of every series.

    About `points` indices come back, the first and last among them; all of them when there are fewer.
    """
    if length <= points:
        return list(range(length))
    stretches = max(1, points // (2 * max(1, len(series))))
    kept = {0, length - 1}
    for stretch in range(stretches):
        begin, end = stretch * length // stretches, (stretch + 1) * length // stretches
        for values in series:
            known = [(values[index], index) for index in range(begin, min(end, len(values)))]
            present = [(value, index) for value, index in known if value is not None]
            if present:
                kept.update((min(present)[1], max(present)[1]))
    return sorted(kept)
