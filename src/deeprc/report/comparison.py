"""Two runs side by side: what differs in what went in, and in what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeprc.journal import RunRecord
from deeprc.report.causes import causes_of
from deeprc.report.description import spec_tasks
from deeprc.report.numbers import same_numbers
from deeprc.report.outcome import metrics_that_differ, results_that_differ, seconds_that_differ
from deeprc.report.provenance import code_of, environment_of, flat, inputs_of
from deeprc.report.summary import summarise
from deeprc.report.tasks import tasks_of

Pair = tuple[Any, Any]

_MEMORY_SHARE = 0.01


def compare(a: RunRecord, b: RunRecord, *, tolerance: float = 0.0) -> dict[str, Any]:
    """What differs between two runs; each pair is [a's, b's], and null where one has none. Keys:

    - `a`, `b`: `run`, `name`, `status`, `directory`; `same`: nothing that went in or came out differs (times may);
      `same_numbers`: `metrics`, `results` and `status` are the same; `compared`: how many `metrics` and `tasks`
    - what went in: `session` {field: pair}, `tasks_added`, `tasks_removed`, `tasks_changed` {task: {field: pair}},
      `code_changed` [task], `code_unknown` [task], `environment` {fact: pair}, `packages` {name: pair},
      `inputs` {path: {`how`: "changed", "removed", "added" or "moved", `bytes`: pair, `blake2b`: pair, `to`}}
    - what came out: `metrics` {table: {row: {column: pair}}}, `results` {task: pair}, `status` {task: pair}: numbers
      are the same that differ by at most `tolerance` times the larger; `seconds` {task: pair}, if by half and 1 s.
      Columns of metrics that a clock gave (`MetricTable.timings`) are left out
    - `causes` {task: [reason]} for each task whose status or result differs
    """
    tasks = tasks_of(a), tasks_of(b)
    metrics, number_of_metrics = metrics_that_differ(a, b, tolerance)
    both = [name for name in tasks[0] if name in tasks[1]]
    went_in = {**_specs(a, b), **_code(a, b, both), **_environments(a, b), "inputs": _inputs(a, b)}
    came_out = {
        "metrics": metrics,
        "results": results_that_differ(a, b, both, tolerance),
        "status": {name: pair for name in both if _differ(pair := (tasks[0][name].status, tasks[1][name].status))},
    }
    same_numbers_ = not any(came_out.values())
    same = same_numbers_ and not any(value for key, value in went_in.items() if key != "code_unknown")
    return {
        "a": _side(a),
        "b": _side(b),
        "same": same,
        "same_numbers": same_numbers_ and not (went_in["tasks_added"] or went_in["tasks_removed"]),
        "compared": {"metrics": number_of_metrics, "tasks": len(both)},
        **went_in,
        **came_out,
        "seconds": seconds_that_differ(tasks[0], tasks[1], both),
        "causes": causes_of((a, b), went_in, [*came_out["results"], *came_out["status"]]),
    }


def _side(run: RunRecord) -> dict[str, str]:
    summary = summarise(run)
    return {
        "run": summary["run"],
        "name": summary["name"],
        "status": summary["status"],
        "directory": str(run.directory),
    }


def _differ(pair: Pair) -> bool:
    # Not 1 == 1.0 == True: to a task they differ.
    return bool(pair[0] != pair[1]) or type(pair[0]) is not type(pair[1])


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    """What differs of two flat mappings."""
    return {key: pair for key in dict.fromkeys([*a, *b]) if _differ(pair := (a.get(key), b.get(key)))}


def _specs(a: RunRecord, b: RunRecord) -> dict[str, Any]:
    tasks = spec_tasks(a) or tasks_of(a), spec_tasks(b) or tasks_of(b)
    same_kind = ("session" in a.spec) == ("session" in b.spec)
    changed = {}
    for name in spec_tasks(a):
        # A script's spec has other fields than a pipeline's.
        sides = [spec_tasks(run).get(name, {}) for run in (a, b)]
        if all(sides):
            flats = [flat(side if same_kind else {"resources": side.get("resources")}) for side in sides]
            changed[name] = _pairs(flats[0], flats[1])
    return {
        "session": _pairs(flat(a.spec.get("session") or {}), flat(b.spec.get("session") or {})) if same_kind else {},
        "tasks_added": [name for name in tasks[1] if name not in tasks[0]],
        "tasks_removed": [name for name in tasks[0] if name not in tasks[1]],
        "tasks_changed": {name: fields for name, fields in changed.items() if fields},
    }


def _code(a: RunRecord, b: RunRecord, both: list[str]) -> dict[str, list[str]]:
    codes = code_of(a), code_of(b)
    known = [name for name in both if all(name in code for code in codes)]
    return {
        "code_changed": [name for name in known if codes[0][name] != codes[1][name]],
        "code_unknown": [name for name in both if name not in known],
    }


def _environments(a: RunRecord, b: RunRecord) -> dict[str, dict[str, Pair]]:
    facts = _pairs(environment_of(a), environment_of(b))
    memory = facts.get("memory_bytes")
    # A machine's own memory is not the same to the byte after each start.
    if memory and all(memory) and same_numbers(*memory, _MEMORY_SHARE):
        del facts["memory_bytes"]
    packages = [run.environment.get("packages") or {} for run in (a, b)]
    return {"environment": facts, "packages": _pairs(packages[0], packages[1])}


def _inputs(a: RunRecord, b: RunRecord) -> dict[str, dict[str, Any]]:
    """Files whose content differs; one that is elsewhere with the same content and name is "moved"."""
    before, after = ({item["path"]: item for item in inputs_of(run)} for run in (a, b))
    gone = {path: item for path, item in before.items() if path not in after}
    new = {path: item for path, item in after.items() if path not in before}
    changes: dict[str, dict[str, Any]] = {}
    for path in before.keys() & after.keys():
        if before[path]["blake2b"] != after[path]["blake2b"]:
            changes[path] = _change("changed", before[path], after[path])
    for path, item in gone.items():
        alike = (to for to, other in new.items() if _is_copy(item, other))
        to = next(alike, None)
        changes[path] = _change("removed", item, None) if to is None else _change("moved", item, new.pop(to))
    changes |= {path: _change("added", None, item) for path, item in new.items()}
    return dict(sorted(changes.items()))


def _is_copy(item: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(item["blake2b"] == other["blake2b"]) and Path(item["path"]).name == Path(other["path"]).name


def _change(how: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    pairs = {key: (before and before[key], after and after[key]) for key in ("bytes", "blake2b")}
    return {"how": how, **pairs, "to": after["path"] if after and how == "moved" else None}
