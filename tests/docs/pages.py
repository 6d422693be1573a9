"""The documentation as its tests see it: pages, and the blocks of code on them.

The info string of a block says what is done with it:

| fence | done with the block |
|---|---|
| `python` | run, in order, all blocks of a page in one process |
| `python title="steps.py"`, `yaml title="..."` | written to that file, beside which the page runs |
| `python no-run: REASON` | left alone |
| `bash run` | run by a shell, where the page runs |
| `text output` | what the block before printed; `...` stands for anything, white space is not compared |
| `text output, numbers vary` | the same, whatever the numbers are |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = "```"


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is the number of its first line of content."""

    language: str
    info: str
    text: str
    line: int

    @property
    def title(self) -> str | None:
        """The file that the block is, if it is one."""
        found = re.search(r'title="([^"]+)"', self.info)
        return found.group(1) if found else None


def pages() -> list[Path]:
    """Every page that users or contributors read."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    content: list[str] | None = None
    opening, start = "", 0
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if content is None and line.startswith(FENCE):
            content, opening, start = [], line.removeprefix(FENCE).strip(), number + 1
        elif content is not None and line.strip() == FENCE:
            language, _, info = opening.partition(" ")
            yield Block(language, info, "\n".join(content) + "\n", start)
            content = None
        elif content is not None:
            content.append(line)
    assert content is None, f"{name_of(page)}: the block that begins at line {start} has no end"


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(rf"^{FENCE}.*?^{FENCE}$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
