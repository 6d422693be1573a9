"""What is written outside a run goes away with the process that wrote it, and not before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import os, sys
import deeprc as rc
from deeprc.bridge import dataset_root
folder = eval(sys.argv[1])
if os.fork() == 0:
    sys.exit(0)
os.wait()
print(folder.is_dir() and folder.is_relative_to(os.environ["TMPDIR"]))
"""


@pytest.mark.parametrize("place", ["dataset_root()", "rc.checkpoint_dir()"])
def test_it_goes_away_with_the_process(tmp_path: Path, place: str) -> None:
    """Not with a child that it forks, which has its exit handlers too."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-c", _SCRIPT, place]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(temporary)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True\n"
    assert list(temporary.iterdir()) == []
