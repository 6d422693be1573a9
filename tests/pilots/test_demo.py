"""`deeprc demo` at every site: the numbers of this machine, to the last digit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# The words after `deeprc demo --on`, and the fixture that brings the site up, if one is needed.
SITES = {
    "radical": (["radical", "--cores", "2"], None),
    "ray": (["ray", "--cores", "2"], None),
    "slurm": (["slurm", "--nodes", "1", "--cores", "2"], "cluster"),
}


@pytest.fixture(scope="module")
def local_metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the demo gives under the local pilot."""
    return metrics(["local", "--cores", "2"], tmp_path_factory.mktemp("local"))


def metrics(on: list[str], folder: Path) -> dict[str, Any]:
    """The tables of a demo's summary, without the seconds that a model took."""
    deeprc = str(Path(sys.executable).with_name("deeprc"))
    words = [deeprc, "demo", "--on", *on, "--out", str(folder / "out"), "--run-dir", str(folder / "run")]
    ran = subprocess.run(words, cwd=folder, timeout=800, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    tables = json.loads((folder / "out" / "summary.json").read_text())["metrics"]
    return {
        title: {row: {name: cell for name, cell in cells.items() if "[s]" not in name} for row, cells in table.items()}
        for title, table in tables.items()
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("site", sorted(SITES))
def test_the_demo_gives_the_same_numbers(
    site: str, local_metrics: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Where a run's nodes come from is one word, and changes no result."""
    on, fixture = SITES[site]
    if fixture is not None:
        request.getfixturevalue(fixture)
    assert metrics(on, tmp_path) == local_metrics
