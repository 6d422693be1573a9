"""Every example of the documentation runs as it is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks, name_of, pages

# What runs it instead: its blocks are checked against each other, not one after another.
RUN_ELSEWHERE = {"docs/reference/pipeline.md": "tests/spec/test_reference.py"}
TRAINS = {
    "README.md",
    "docs/tutorial.md",
    "docs/how-to/forecasting.md",
    "docs/how-to/keras.md",
    "docs/how-to/lightning.md",
    "docs/how-to/rivers.md",
}


def is_run(block: Block) -> bool:
    return not block.info.startswith("no-run") and (block.language == "python" or block.info == "run")


def runnable() -> list[object]:
    """Pages with something to run; those that train are slow."""
    found = [page for page in pages() if any(is_run(block) for block in blocks(page))]
    return [
        pytest.param(page, id=name_of(page), marks=[pytest.mark.slow] if name_of(page) in TRAINS else [])
        for page in found
        if name_of(page) not in RUN_ELSEWHERE
    ]


@pytest.mark.parametrize("page", runnable())
def test_every_block_of_the_page_runs(page: Path, tmp_path: Path) -> None:
    """In order, in a folder of its own, and prints what the page says it prints."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "COLUMNS": "120",
    }
    environment.pop("DEEPRC_RUNS", None)
    command = [sys.executable, "-m", "tests.docs.run_page", str(page)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name_of(page)}\n{done.stdout}{done.stderr}"


def test_a_block_that_is_not_run_says_why() -> None:
    """`no-run` stands with its reason."""
    for page in pages():
        for block in blocks(page):
            if block.info.startswith("no-run"):
                assert block.info.removeprefix("no-run").lstrip(": "), f"{name_of(page)}:{block.line}"
