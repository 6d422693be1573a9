"""Commands and targets that the documentation shows exist."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import pytest
import typer.main

from deeprc.cli.main import app
from tests.docs.pages import ROOT, blocks, name_of, pages, prose


def shown(first_word: str) -> list[tuple[str, str]]:
    """Every command on any page that begins with a word: (page, command)."""
    found = []
    for page in pages():
        lines = [line for block in blocks(page) if block.language == "bash" for line in block.text.splitlines()]
        lines += re.findall(r"`([^`\n]+)`", prose(page))
        commands = [command.strip().removeprefix("$ ") for line in lines for command in re.split(r"&&|;", line)]
        found += [(name_of(page), command) for command in commands if command.split()[:1] == [first_word]]
    return found


def check(words: list[str]) -> None:
    """Follow the words of a command through the program's own tree of commands and options."""
    command: Any = typer.main.get_command(app)
    known = {"--help", "-h"}
    for word in words:
        known |= {name for parameter in command.params for name in parameter.opts}
        if word.startswith("-"):
            assert word.partition("=")[0] in known, f"no option {word}; there are {sorted(known)}"
        elif isinstance(command, click.Group) or hasattr(command, "commands"):
            if word.isupper():
                return
            assert word in command.commands, f"no command {word!r}; there are {sorted(command.commands)}"
            command = command.commands[word]


@pytest.mark.parametrize(("page", "command"), shown("deeprc"))
def test_every_deeprc_command_shown_exists(page: str, command: str) -> None:
    """With each of its options."""
    check(shlex.split(command, comments=True)[1:])


def test_a_command_that_does_not_exist_is_noticed() -> None:
    """The check itself can fail."""
    for command in (["rnu", "x.yaml"], ["run", "x.yaml", "--onn", "local"], ["bench", "pipelin"]):
        with pytest.raises(AssertionError):
            check(command)


@pytest.mark.parametrize(("page", "command"), shown("make"))
def test_every_make_target_shown_exists(page: str, command: str) -> None:
    """In the Makefile, as a target of its own."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for word in command.split()[1:]:
        assert "=" in word or word in targets, f"{page}: no make target {word!r}; there are {targets}"
