"""Plain text of at most 80 columns, the same in a terminal, a file and a mail."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

WIDTH = 80
_GAP = 2


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), indent: int = 2) -> Iterator[str]:
    """Rows of cells as aligned lines; the widest columns are shortened where a line would be too long.

    `right` numbers the columns that are aligned to the right: numbers.
    """
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    room = WIDTH - indent - _GAP * (len(widths) - 1)
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    for row in rows:
        cells = [
            _cell(text, width, column in right) for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield (" " * indent + (" " * _GAP).join(cells)).rstrip()


def _cell(text: str, width: int, to_right: bool) -> str:
    text = shortened(text, width)
    return text.rjust(width) if to_right else text.ljust(width)


def shortened(text: str, width: int) -> str:
    """In one line of at most `width` letters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."[:width]


def wrapped(text: str, indent: int = 0, further: int | None = None) -> Iterator[str]:
    """Text in lines; a word too long for one, as a path may be, has its own and stays whole."""
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent if further is None else further),
        break_long_words=False,
        break_on_hyphens=False,
    )


def quantity(value: object) -> str:
    """A number with six significant digits, nothing as "-", other values as they are."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
