"""Why a task of one run came out otherwise than in another, as far as what was recorded tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deeprc.journal import RunRecord
from deeprc.report.provenance import readers_of
from deeprc.report.tasks import tasks_of

UNKNOWN = (
    "nothing recorded differs: random numbers without a seed, sums in another order, the clock, "
    "or something read that no argument names"
)


def causes_of(runs: tuple[RunRecord, RunRecord], went_in: Mapping[str, Any], tasks: Iterable[str]) -> dict[str, Any]:
    """Reasons for each of `tasks`, whose results differ: its own, or else those of what it needs."""
    wanted = list(dict.fromkeys(tasks))
    needs = {name: task.needs for run in runs for name, task in tasks_of(run).items()}
    readers = [readers_of(run) for run in runs]
    everywhere = [
        f"{name} differs" for name in ("environment", "packages") if went_in[name] and _matters(name, went_in[name])
    ]
    found = {}
    for name in wanted:
        own = _own(name, went_in, readers)
        upstream = ", ".join(need for need in needs[name] if need in wanted)
        if upstream:
            own.append(f"it needs {upstream}, and that came out otherwise")
        found[name] = own or everywhere or [UNKNOWN]
    return found


def _matters(name: str, facts: Mapping[str, Any]) -> bool:
    """Whether what differs can change a number."""
    return name == "packages" or any(fact not in ("memory_bytes", "executable") for fact in facts)


def _own(name: str, went_in: Mapping[str, Any], readers: Sequence[Mapping[str, set[str]]]) -> list[str]:
    reasons = [f"{field} is another" for field in went_in["tasks_changed"].get(name, {})]
    if name in went_in["code_changed"]:
        reasons.append("the code of its function is another")
    for path, change in went_in["inputs"].items():
        if change["how"] != "moved" and any(name in each.get(path, ()) for each in readers):
            reasons.append(f"input {path} is {_HOW[change['how']]}")
    return reasons


_HOW = {"changed": "another", "removed": "not read", "added": "new"}
