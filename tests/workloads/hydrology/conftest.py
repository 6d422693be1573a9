"""Data that the hydrology tests share."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from deeprc.workloads.hydrology.cleaning import clean_river
from deeprc.workloads.hydrology.rivers import read_river, river_files

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def camels_root() -> Path:
    """The folder of the CAMELS-US test data; tests that need it are skipped without."""
    data = Path(os.environ.get("DEEPRC_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    root = data / "camels_us"
    if not root.is_dir():
        pytest.skip(f"no CAMELS-US data at {root}; set DEEPRC_TEST_DATA to the folder that holds camels_us")
    return root


@pytest.fixture(scope="session")
def rivers() -> pl.DataFrame:
    """Both river records of spotpy, cleaned."""
    records = [read_river(name, path) for name, path in river_files().items()]
    return pl.concat([clean_river(record)[0] for record in records])
