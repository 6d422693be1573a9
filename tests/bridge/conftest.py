"""Each test has a dataset root of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deeprc import bridge, journal


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bridge.root, "_root", None)
    bridge.set_dataset_root(tmp_path / "datasets")
    return bridge.dataset_root()


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """What is recorded while the test runs."""
    recorded: list[dict[str, Any]] = []
    journal.set_sink(lambda kind, fields: recorded.append({"kind": kind, **fields}))
    yield recorded
    journal.set_sink(None)
