"""Which colour and dash a line has: the same name looks the same in every chart of a section."""

from __future__ import annotations

from collections.abc import Iterable

from deeprc.report.results import is_baseline

# Hues of the stylesheet (--hue-1 and on), told apart with every common kind of colour blindness; beyond them
# the dash pattern tells lines apart.
HUES = 6
DASHES = 3


def line_styles(names: Iterable[str], *, first_hue: int = 1) -> dict[str, str]:
    """CSS classes for each name, in the order given: models in colours, baselines in grey dashes."""
    styles: dict[str, str] = {}
    models, baselines = first_hue - 1, 0
    for name in dict.fromkeys(names):
        if is_baseline(name):
            styles[name] = f"baseline dash-{1 + baselines % DASHES}"
            baselines += 1
        else:
            styles[name] = f"hue-{1 + models % HUES} dash-{models // HUES % DASHES}"
            models += 1
    return styles
