"""HTML that is safe by construction: a plain string is text and gets escaped, only `Html` is taken as markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# Terminal colours and other control characters that a program's output may hold and a page can't show.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset({"br", "hr", "input", "link", "meta"})


class Html(str):
    """Markup that is finished: it is not escaped again."""

    __slots__ = ()


Node = Html | str | None | Iterable["Node"]
Attribute = str | int | float | bool | None


@dataclass(frozen=True)
class Column:
    """A table's column: its heading, and whether it holds numbers (right aligned)."""

    heading: str
    numeric: bool = False
    hint: str = ""


def text(value: object) -> Html:
    """Escape a value for text and for attributes in double quotes."""
    return value if isinstance(value, Html) else Html(html.escape(_printable(str(value)), quote=True))


def _printable(value: str) -> str:
    """Leave out a terminal's commands; other characters that can't be shown become U+FFFD."""
    return _CONTROLS.sub("\ufffd", _ESCAPES.sub("", value).replace("\r\n", "\n"))


def join(nodes: Node) -> Html:
    """Concatenate nodes of any depth; None is left out."""
    if nodes is None:
        return Html("")
    if isinstance(nodes, str):
        return text(nodes)
    return Html("".join(join(node) for node in nodes))


def element(tag: str, *children: Node, **attributes: Attribute) -> Html:
    """One element. `class_="a"` is `class`, `aria_label=` is `aria-label`; None and False leave one out."""
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{join(children)}</{tag}>")


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(value)}"'


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Node], *, class_: str = "", sortable: bool = False
) -> Html:
    """A captioned table in a box of its own that scrolls sideways when it is wide; `rows` are `tr` elements."""
    head = element("tr", [_heading(column, sortable) for column in columns])
    body = element(
        "table",
        element("caption", element("span", caption)),
        element("thead", head),
        element("tbody", rows),
        class_=class_ or None,
        data_sortable=sortable,
    )
    return element("div", body, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _heading(column: Column, sortable: bool) -> Html:
    label: Node = element("button", column.heading, type="button") if sortable else column.heading
    return element("th", label, scope="col", class_="number" if column.numeric else None, title=column.hint or None)


def row(heading: Node, *cells: Node, class_: str | None = None) -> Html:
    """A table row whose first cell names the row; the others are `td` elements or text."""
    data = [cell if isinstance(cell, Html) and cell.startswith("<td") else element("td", cell) for cell in cells]
    return element("tr", element("th", heading, scope="row"), data, class_=class_)


def number_cell(shown: Node, *, sort: float | None = None, class_: str = "") -> Html:
    """A right-aligned cell; `sort` is the value that a click on the heading sorts by."""
    return element("td", shown, class_=f"number {class_}".strip(), data_sort=sort)


def folded(summary: Node, *content: Node, open_: bool = False) -> Html:
    """Content behind a line that opens it."""
    return element("details", element("summary", summary), content, open=open_)


def data_block(content: Any) -> Html:
    """JSON for the page's script; `<` is written so that no content can end the block."""
    written = json.dumps(_cleaned(content), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Html(f'<script type="application/json">{written}</script>')


def _cleaned(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _cleaned(item) for key, item in content.items()}
    if isinstance(content, list):
        return [_cleaned(item) for item in content]
    return _printable(content) if isinstance(content, str) else content
