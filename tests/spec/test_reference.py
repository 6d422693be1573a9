from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from deeprc.spec import load_pipeline
from deeprc.spec.reference import field_tables

PAGE = Path(__file__).parents[2] / "docs/reference/pipeline.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("name", ["pipeline", "session", "task"])
def test_every_field_is_documented_as_it_is(name: str) -> None:
    """The page's tables are those made from the models: no field is missing, no default is old."""
    assert field_tables()[name] in PAGE.read_text(), f"paste into {PAGE}:\n{field_tables()[name]}"


def test_every_field_says_what_it_means() -> None:
    """No field lacks a meaning."""
    rows = [row for table in field_tables().values() for row in table.splitlines()[2:]]
    assert rows
    assert all(row.split("|")[3].strip().endswith(".") for row in rows), rows


def test_the_page_s_pipeline_loads_and_is_its_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's own example, functions included, is accepted; its Python describes the same graph."""
    steps, python = blocks("python")
    (yaml,) = blocks("yaml")
    (tmp_path / "steps.py").write_text(steps)
    (tmp_path / "pipeline.yaml").write_text(yaml)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "steps", raising=False)
    loaded = load_pipeline(tmp_path / "pipeline.yaml")
    names: dict[str, object] = {}
    exec(python, names)
    described = names["pipeline"]
    assert loaded.needs() == described.needs()  # type: ignore[attr-defined]
    assert [task.resources for task in loaded.tasks] == [task.resources for task in described.tasks]  # type: ignore[attr-defined]
    assert [task.kwargs for task in loaded.tasks] == [task.kwargs for task in described.tasks]  # type: ignore[attr-defined]
    monkeypatch.delitem(sys.modules, "steps", raising=False)
