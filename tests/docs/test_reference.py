"""The reference is complete, and says of the code what the code says."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import deeprc
from deeprc import errors
from deeprc.journal.events import KINDS
from deeprc.table import GroupBy
from tests.docs.pages import ROOT
from tests.docs.polars_methods import PAGE, lines

REFERENCE = ROOT / "docs/reference"
README = (ROOT / "README.md").read_text()


def sections(page: str) -> dict[str, str]:
    """The text below each heading of the second level that is one name in code, by that name."""
    parts = re.split(r"^## ", (REFERENCE / page).read_text(), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].strip("`"): part.partition("\n")[2] for part in parts if part.startswith("`")}


PYTHON = sections("python.md")


def test_python_covers_every_public_name_and_no_other() -> None:
    """A heading for each of `deeprc.__all__`."""
    assert sorted(PYTHON) == sorted(deeprc.__all__)


def parameters(thing: Any) -> list[str]:
    """Names of the parameters, with a star where they are many."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    signature = inspect.signature(thing)
    return [
        stars.get(each.kind, "") + each.name
        for each in signature.parameters.values()
        if each.name not in ("self", "cls")
    ]


def documented_calls(text: str) -> dict[str, list[str]]:
    """Each call in a `python` block of signatures, with the names of its parameters."""
    calls = {}
    for block in re.findall(r"```python no-run: signatures?\n(.*?)```", text, flags=re.DOTALL):
        for name, inside in re.findall(r"^([\w.]+)\((.*?)\)(?: ->[^\n]*)?$", block, flags=re.DOTALL | re.MULTILINE):
            words = [part.partition("=")[0].partition(":")[0].strip() for part in re.split(r",\s*", inside)]
            calls[name] = [word for word in words if re.fullmatch(r"\*{0,2}\w+", word)]
    return calls


@pytest.mark.parametrize("name", sorted(deeprc.__all__))
def test_signatures_are_those_of_the_code(name: str) -> None:
    """Every call shown exists and takes the parameters shown, in that order; every public method is shown."""
    thing, text = getattr(deeprc, name), PYTHON[name]
    calls = documented_calls(text)
    assert len(calls) == sum(line.startswith((f"{name}.", f"{name}(", "GroupBy.")) for line in text.splitlines())
    for call, shown in calls.items():
        owner, _, attribute = call.partition(".")
        target = {"GroupBy": GroupBy}.get(owner, getattr(deeprc, owner, None))
        target = getattr(target, attribute) if attribute else target
        assert shown == parameters(target), call
    if inspect.isclass(thing):
        ours = [thing, *(base for base in thing.__mro__ if base.__module__.startswith("deeprc.table.methods"))]
        others = {key for base in thing.__mro__ if not base.__module__.startswith("deeprc.") for key in vars(base)}
        names = {key for base in ours for key in vars(base)} - others
        own = {key for key in names if not key.startswith("_") and not key.startswith("model_")}
        missing = {key for key in own if not re.search(rf"\b{key}\b", text)}
        assert missing == set(), f"python.md does not mention {missing} of {name}"


def test_errors_covers_every_class_and_no_other() -> None:
    """With its place in the tree and whether it is retryable."""
    classes = {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.DeepRCError)
    }
    text = (REFERENCE / "errors.md").read_text()
    documented = sections("errors.md")
    assert sorted(documented) == sorted(classes)
    for name, value in classes.items():
        told = "Retryable: yes" in documented[name]
        assert told == value.retryable, f"errors.md is wrong about whether {name} is retryable"
        parents = [base.__name__ for base in value.__bases__]
        line = next(line for line in text.splitlines() if re.match(rf"[ │├└─]*{name}\b", line))
        others = [parent for parent in parents if parent not in classes and parent != "Exception"]
        assert all(other in line for other in others), f"the tree leaves out that {name} is a {others}"


def test_run_directory_covers_every_kind_of_event() -> None:
    """In its table, and no kind that there is not."""
    text = (REFERENCE / "run-directory.md").read_text()
    table = text.partition("## Kinds of events")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z.]+)` \|", table, flags=re.MULTILINE)) == KINDS


def test_readme_names_every_extra() -> None:
    """Of pyproject.toml."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    missing = [extra for extra in project["optional-dependencies"] if f"`{extra}`" not in README]
    assert missing == []


def test_architecture_names_every_room() -> None:
    """Of src/deeprc."""
    text = (ROOT / "docs/architecture.md").read_text()
    source = ROOT / "src/deeprc"
    rooms = [f"{path.name}/" for path in source.iterdir() if path.is_dir() and not path.name.startswith("_")]
    assert [room for room in [*rooms, "errors.py"] if f"`{room}`" not in text] == []


@pytest.mark.parametrize("page", ["README.md", "docs/benchmarks.md"])
def test_benchmark_markers_are_there(page: str) -> None:
    """Once each, in order: what is between them is made by a script."""
    text = (ROOT / page).read_text()
    opening, closing = "<!-- benchmark:pipeline -->", "<!-- /benchmark:pipeline -->"
    assert text.count(opening) == text.count(closing) == 1
    assert text.index(opening) < text.index(closing)


def test_pictures_are_small() -> None:
    """A reader on a slow line waits for them."""
    for picture in (ROOT / "docs/images").iterdir():
        assert picture.stat().st_size < 300_000, picture


def test_polars_methods_are_all_told_of() -> None:
    """As both sides' code has them; `python -m tests.docs.polars_methods` writes the page anew."""
    assert (
        PAGE.read_text().partition("\n## ")[2].splitlines()
        == "\n".join(lines()).rstrip().removeprefix("## ").splitlines()
    )
