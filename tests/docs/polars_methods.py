"""Every method of Polars' frames and groups beside a table's: the lines of docs/reference/polars.md.

`python -m tests.docs.polars_methods` writes them anew.
"""

from __future__ import annotations

import inspect
from typing import Any

import polars as pl
from polars.dataframe.group_by import DynamicGroupBy, RollingGroupBy
from polars.dataframe.group_by import GroupBy as EagerGroupBy
from polars.lazyframe.group_by import LazyGroupBy

import deeprc as rc
from deeprc.table import GroupBy, Windows
from deeprc.table.methods.nearest import nearest
from tests.docs.pages import ROOT

PAGE = ROOT / "docs/reference/polars.md"
PAIRS: tuple[tuple[str, type, type], ...] = (
    ("LazyFrame", pl.LazyFrame, rc.Table),
    ("DataFrame", pl.DataFrame, rc.Table),
    ("LazyGroupBy", LazyGroupBy, GroupBy),
    ("GroupBy", EagerGroupBy, GroupBy),
    ("DynamicGroupBy", DynamicGroupBy, Windows),
    ("RollingGroupBy", RollingGroupBy, Windows),
)


def public(owner: type) -> list[str]:
    return [name for name in dir(owner) if not name.startswith("_")]


def differences(theirs: Any, ours: Any) -> str:
    """Parameters that one has and the other has not, and other defaults, in a line; nothing where they are alike."""
    if not callable(theirs):
        return ""
    left, right = (
        {
            name: each
            for name, each in inspect.signature(method).parameters.items()
            if not name.startswith(("self", "_"))
        }
        for method in (theirs, ours)
    )
    defaults = [
        f"`{name}={right[name].default!r}`"
        for name in right
        if name in left and _default(left[name]) != _default(right[name])
    ]
    gone, new = ([f"`{name}`" for name in one if name not in other] for one, other in ((left, right), (right, left)))
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in right.values()):
        gone = []  # What is not named is handed on to Polars.
    parts = (("without", gone), ("also", new), ("by default", defaults))
    return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)


def _default(parameter: inspect.Parameter) -> str:
    return repr(parameter.default)


def lines() -> list[str]:
    """The page from its first table on."""
    done: set[str] = set()
    result: list[str] = []
    for title, theirs, ours in PAIRS:
        names = [name for name in public(theirs) if (name not in done or ours is not rc.Table)]
        alike, other, absent = _sorted(names, theirs, ours)
        done |= {*names} if ours is rc.Table else set()
        result += [f"## {title}{' alone' if title == 'DataFrame' else ''}", ""]
        result += [f"Alike: {', '.join(f'`{name}`' for name in alike)}.", ""] if alike else []
        result += ["| parameters differ | |", "|---|---|", *other, ""] if other else []
        result += ["| not there | the nearest |", "|---|---|", *absent, ""] if absent else []
    return result


def _sorted(names: list[str], theirs: type, ours: type) -> tuple[list[str], list[str], list[str]]:
    alike, other, absent = [], [], []
    for name in names:
        if not hasattr(ours, name):
            absent.append(f"| `{name}` | {nearest(name)} |")
        elif said := differences(getattr(theirs, name), getattr(ours, name)):
            other.append(f"| `{name}` | {said} |")
        else:
            alike.append(name)
    return alike, other, absent


if __name__ == "__main__":
    PAGE.write_text("\n".join([PAGE.read_text().partition("\n## ")[0].rstrip(), "", *lines()]).rstrip() + "\n")
