"""Small series for the tests of forecasting."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

HORIZON, SEASON = 6, 12
SETTINGS: Mapping[str, Any] = {
    "horizon": HORIZON,
    "lookback": 24,
    "season_length": SEASON,
    "windows": 2,
    "max_steps": 2,
    "batch_size": 8,
}


def hourly(rows: int = 120, names: tuple[str, ...] = ("east", "west"), seed: int = 0) -> pl.DataFrame:
    """Noisy waves that repeat every `SEASON` rows."""
    noise = np.random.default_rng(seed)
    times = [datetime(2013, 1, 1) + timedelta(hours=hour) for hour in range(rows)]
    wave = 10 + 5 * np.sin(2 * np.pi * np.arange(rows) / SEASON)
    return pl.concat(
        pl.DataFrame({"unique_id": name, "ds": times, "y": wave * scale + noise.normal(0, 0.3, rows)})
        for scale, name in enumerate(names, start=1)
    )
