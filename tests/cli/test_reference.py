from __future__ import annotations

from pathlib import Path
from typing import Any

import typer.main

from deeprc.cli.main import app

PAGE = Path(__file__).parents[2] / "docs/reference/cli.md"


def sections() -> dict[str, str]:
    """The page's text for each command, by the command's words."""
    parts = PAGE.read_text().split("\n## deeprc ")[1:]
    return {part.partition("\n")[0]: part for part in parts}


def commands(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every command by its words: "bench pipeline"."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = commands(command, f"{prefix}{name} ") if hasattr(command, "commands") else {f"{prefix}{name}": command}
        found |= inner
    return found


def test_every_command_and_option_is_documented() -> None:
    """The page has a section for each command, and names each of its options; no other."""
    documented = sections()
    existing = commands(typer.main.get_command(app))
    assert {heading.partition(" PIPELINE")[0].partition(" RUN")[0] for heading in documented} == set(existing)
    for words, command in existing.items():
        text = next(part for heading, part in documented.items() if heading.startswith(words))
        options = [name for parameter in command.params for name in parameter.opts if name.startswith("--")]
        assert [name for name in options if f"`{name}" not in text and name != "--help"] == []
