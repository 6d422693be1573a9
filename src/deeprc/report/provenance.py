"""What went into a run, in a form that can be compared."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeprc.errors import JournalError
from deeprc.journal import RunRecord, read_run
from deeprc.journal.kept import kept_headers

_FACTS = ("python", "executable", "platform", "machine", "cores", "memory_bytes")


def environment_of(run: RunRecord) -> dict[str, Any]:
    """Python, the machine and the allocation, without packages; what was not recorded is left out."""
    start = run.first("run.started") or {}
    nodes = start.get("nodes") or []
    facts = {name: run.environment[name] for name in _FACTS if name in run.environment}
    allocation = {
        "pilot": start.get("pilot"),
        "nodes": [node.get("name") for node in nodes],
        "cores of nodes": [node.get("cores") for node in nodes],
        "gpus of nodes": [node.get("gpus") for node in nodes],
    }
    return {**facts, **allocation}


def inputs_of(run: RunRecord) -> list[dict[str, Any]]:
    """Files that went in, as they were hashed: `task` (the first that names it), `path`, `bytes`, `blake2b`."""
    return [
        {
            "task": str(event.get("task") or ""),
            "path": str(event.get("path") or ""),
            "bytes": int(event.get("bytes") or 0),
            "blake2b": str(event.get("blake2b") or ""),
        }
        for event in run.of_kind("input")
    ]


def readers_of(run: RunRecord) -> dict[str, set[str]]:
    """Tasks by the input file they name; the journal has but the first, a kept result all."""
    found: dict[str, set[str]] = {}
    for item in inputs_of(run):
        found.setdefault(item["path"], set()).add(item["task"])
    for header in kept_headers(run.directory):
        for path in header["key"].get("inputs") or ():
            found.setdefault(path, set()).add(header["task"])
    return found


def code_of(run: RunRecord) -> dict[str, str]:
    """A hash of each task's code, where the run, or the one it resumed, has kept the task's result."""
    codes = {header["task"]: str(header["key"].get("function")) for header in kept_headers(run.directory)}
    reused = {event["task"] for event in run.of_kind("task.reused")} - codes.keys()
    earlier = str((run.first("run.started") or {}).get("resumes") or "")
    if reused and earlier:
        # It may be gone, or damaged: then nothing is known of them.
        with contextlib.suppress(JournalError, OSError):
            codes |= {name: code for name, code in code_of(read_run(Path(earlier))).items() if name in reused}
    return codes


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, whose keys are joined by dots; `name` is the key of a task and left out."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            found |= flat(item, f"{prefix}{key}.")
        elif prefix or key not in ("name", "task"):
            found[f"{prefix}{key}"] = item
    return found
