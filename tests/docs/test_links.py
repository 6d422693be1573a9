"""Links between pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, name_of, pages, prose

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def links(page: Path) -> list[str]:
    return [first or second for first, second in LINK.findall(prose(page))]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_relative_link_resolves(page: Path) -> None:
    """To a file of the repository and, where it names one, to a heading of that page."""
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name_of(page)}: {link} leads nowhere"
        assert path.is_relative_to(ROOT), f"{name_of(page)}: {link} leaves the repository"
        if anchor:
            assert anchor in anchors(path), f"{name_of(page)}: {link}: no such heading; there are {anchors(path)}"


def test_every_page_can_be_reached() -> None:
    """By links from the README."""
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = [link.partition("#")[0] for link in links(page) if not re.match(r"[a-z]+:", link)]
        waiting += [(page.parent / target).resolve() for target in targets if target]
    assert {name_of(page) for page in pages()} - {name_of(page) for page in seen} == set()


def test_contributing_names_files_that_exist() -> None:
    """Each file and folder it names stands in the repository, in the package or in its tables."""
    named = re.findall(r"`((?:[\w.-]+/)+(?:[\w-]+\.\w+)?)`", (ROOT / "CONTRIBUTING.md").read_text())
    homes = (ROOT, ROOT / "src" / "deeprc", ROOT / "src" / "deeprc" / "table", ROOT / "tests" / "communicator")
    absent = [path for path in named if not any((home / path).exists() for home in homes)]
    assert len(named) > 20
    assert absent == []
