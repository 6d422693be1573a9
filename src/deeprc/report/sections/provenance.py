"""What someone needs to do it again: inputs with fingerprints, environment, the frozen spec."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deeprc.journal import RunRecord
from deeprc.report import formats
from deeprc.report.markup import Column, Html, Node, element, folded, number_cell, row, table
from deeprc.report.sections.section import Section, section

UNFOLDED = 20


def inputs_section(run: RunRecord) -> Section | None:
    """Files that tasks read, each content once."""
    readers: dict[tuple[str, int, str], list[str]] = {}
    for event in run.of_kind("input"):
        key = (str(event.get("path", "")), int(event.get("bytes") or 0), str(event.get("blake2b") or ""))
        readers.setdefault(key, []).append(str(event.get("task") or ""))
    if not readers:
        return None
    columns = [
        Column("File"),
        Column("Bytes", numeric=True),
        Column("BLAKE2b fingerprint"),
        Column("Read by"),
    ]
    rows = [
        row(
            element("code", path),
            number_cell(formats.size(num_bytes)),
            element("code", fingerprint),
            ", ".join(dict.fromkeys(filter(None, tasks))),
        )
        for (path, num_bytes, fingerprint), tasks in readers.items()
    ]
    shown = table("Input files", columns, rows, class_="inputs")
    if len(rows) > UNFOLDED:
        shown = folded(f"All {formats.count(len(rows), 'file')}", shown)
    return section("inputs", "Inputs", "Inputs", shown)


def environment_section(run: RunRecord) -> Section | None:
    """`environment.json`: short facts as they are, long groups of them (versions) folded; then nodes and ranks."""
    facts = {**run.environment, **_started_with(run)}
    if not facts:
        return None
    return section("environment", "Environment", "Environment", _facts(facts))


def spec_section(run: RunRecord) -> Section | None:
    """The frozen spec, as it was checked before work started."""
    if not run.spec:
        return None
    written = json.dumps(run.spec, indent=2, ensure_ascii=False)
    shown = element("pre", written, tabindex=0)
    return section("spec", "Spec", "Frozen spec", folded("The spec as JSON", shown))


def _started_with(run: RunRecord) -> dict[str, Any]:
    start = run.first("run.started") or {}
    facts: dict[str, Any] = {
        name: start[name] for name in ("command", "directory", "pilot", "nodes") if start.get(name)
    }
    ranks = list(run.of_kind("rank.started"))
    if ranks:
        took = sorted(float(event["seconds"]) for event in ranks if event.get("seconds") is not None)
        ways = sorted({str(event.get("start")) for event in ranks if event.get("start")})
        by = f" by {' and '.join(ways)}" if ways else ""
        median = f", {formats.seconds(took[len(took) // 2])} each in the median" if took else ""
        facts["ranks started"] = f"{len(ranks)}{by}{median}"
    return facts


def _facts(facts: Mapping[str, Any]) -> Html:
    """A definition list; what holds other facts is a list inside it."""
    pairs = [[element("dt", _label(name)), element("dd", _fact(name, value))] for name, value in facts.items()]
    return element("dl", pairs, class_="facts")


def _fact(name: str, value: Any) -> Node:
    if isinstance(value, Mapping):
        inner = _facts({str(key): item for key, item in value.items()})
        return folded(formats.count(len(value), "entry", "entries"), inner) if len(value) > 12 else inner
    if isinstance(value, list) and all(isinstance(item, Mapping) for item in value) and value:
        return element("ul", [element("li", _inline(item)) for item in value], class_="plain")
    if isinstance(value, list):
        return " ".join(str(item) for item in value) or "none"
    return _written(name, value)


def _inline(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{_label(str(name))} {_written(str(name), value)}" for name, value in facts.items())


def _label(name: str) -> str:
    """A field's name in words: `memory_bytes` is memory, its value has the unit; MY_VARIABLE stays."""
    return name.removesuffix("_bytes").replace("_", " ") if name.islower() else name


def _written(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("bytes") and isinstance(value, int | float):
        return formats.size(value)
    return formats.ABSENT if value in (None, "") else str(value)
