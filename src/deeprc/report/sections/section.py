"""The frame that every section stands in."""

from __future__ import annotations

from dataclasses import dataclass

from deeprc.report.markup import Html, Node, element


@dataclass(frozen=True)
class Section:
    """A part of the page; `identity` is its anchor, `short` its name in the page's navigation."""

    identity: str
    short: str
    body: Html


def section(identity: str, short: str, title: str, *content: Node, lead: Node = None) -> Section:
    """Put content under a heading; `lead` says in a sentence what to look for."""
    heading = element("h2", title, id=f"{identity}-title")
    opening = element("p", lead, class_="lead") if lead else None
    body = element("section", heading, opening, content, id=identity, aria_labelledby=f"{identity}-title")
    return Section(identity, short, body)
