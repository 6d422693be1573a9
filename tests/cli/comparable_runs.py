"""Small real runs of one pipeline, to be shown, compared and repeated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STEPS = """\
import deeprc as rc


def fit(path, model, scale):
    value = scale * len(open(path).read())
    rc.record_artifact(rc.MetricTable("Errors", ["MAE [m]"], {model: [value]}, better=["lower"]))
    if model == "bad":
        print("about to fail", flush=True)
        raise ValueError("this model diverged")
    return value


def best(fits):
    return min(fits)
"""
PIPELINE = """\
params: {models: [a, b], scale: 1.0}
tasks:
  fit-${model}:
    for: {model: "${models}"}
    run: steps.py:fit
    with: {path: %s, model: "${model}", scale: "${scale}"}
  best:
    run: steps.py:best
    args: [{tasks: fit-*}]
"""


def write_pipeline(folder: Path) -> None:
    """`steps.py`, `p.yaml` and the input `data.csv` in a folder."""
    (folder / "steps.py").write_text(STEPS)
    (folder / "p.yaml").write_text(PIPELINE % (folder / "data.csv"))
    (folder / "data.csv").write_text("1,2,3\n")


def deeprc(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, so that changed code is read anew; runs go to `folder/runs`."""
    command = [sys.executable, "-m", "deeprc.cli.main", *map(str, arguments)]
    environment = {**os.environ, "DEEPRC_RUNS": str(folder / "runs")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
