"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import deeprc as rc

# Sessions of other tests, and of whoever else uses this machine, are not to change what a test is given.
os.environ.setdefault("DEEPRC_LEASES", "")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[rc.Session]:
    """A session of four pretend cores, with a run directory of its own."""
    session = rc.Session(cores=4, run_dir=tmp_path / "run")
    yield session
    # Not the session as a context manager: after a failed test nothing is waited for.
    session.close()
