"""The page that compares operators with Cylon's names only what there is, and every operator there is."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import entry_points
from pathlib import Path

import deeprc as rc

PAGE = (Path(__file__).parents[2] / "docs/reference/tables.md").read_text()


def ours(section: str) -> list[str]:
    """The second column of a section's table."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return [line.split("|")[2] for line in text.splitlines() if line.startswith("|")][2:]


def test_operators() -> None:
    """Every one named as ours exists, and every public method that gives a table is named somewhere."""
    named = {name for cell in ours("Operators") for name in re.findall(r"`([\w.]+)`", cell)}
    assert len(named) > 30
    for name in named:
        if name.startswith("rc."):
            assert callable(getattr(rc, name.removeprefix("rc.")))
        else:
            assert callable(getattr(rc.Table, name))
    methods = {name for name, value in inspect.getmembers(rc.Table, callable) if not name.startswith("_")}
    assert [name for name in methods if f"`{name}`" not in PAGE] == []


def test_communicators() -> None:
    """Every one named as ours is installed, and no other."""
    named = {name for cell in ours("Communicators") for name in re.findall(r'"(\w+)"', cell)}
    assert named == {entry.name for entry in entry_points(group="deeprc.communicators")}
