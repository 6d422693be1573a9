"""The stylesheet's hues stay apart for people who see fewer colours."""

from __future__ import annotations

import itertools
import re
from importlib import resources

import numpy as np
import pytest

from deeprc.report.charts.styles import HUES

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
SIGHT = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
RGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
DAYLIGHT = np.array([0.9505, 1.0, 1.089])


def linear(colour: str) -> np.ndarray:
    """Linear RGB of "#rrggbb", shape (3,)."""
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB, shape (3,): distances there are about as large as they look."""
    xyz = RGB_TO_XYZ @ np.clip(rgb, 0, 1) / DAYLIGHT
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def schemes() -> list[dict[str, str]]:
    """The hues of the light scheme and of the dark one."""
    css = resources.files("deeprc.report").joinpath("report.css").read_text()
    found = re.findall(r"--(hue-\d): (#[0-9a-f]{6})", css)
    assert len(found) == 2 * HUES
    return [dict(found[:HUES]), dict(found[HUES:])]


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_hues_are_told_apart(sight: str, scheme: int) -> None:
    """Any two hues are at least 18 apart in CIELAB, many times the smallest difference one can see."""
    seen = {name: lab(SIGHT[sight] @ linear(colour)) for name, colour in schemes()[scheme].items()}
    near = [(a, b) for a, b in itertools.combinations(seen, 2) if np.linalg.norm(seen[a] - seen[b]) < 18]
    assert near == []
