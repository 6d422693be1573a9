"""The picture of the timeline: a lane for each core and each zygote, a bar for each rank of each attempt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from deeprc.journal import RunRecord
from deeprc.report import formats
from deeprc.report.charts.frame import frame, spoken, zoom_buttons
from deeprc.report.charts.scales import value_ticks
from deeprc.report.markup import Html, data_block, element
from deeprc.report.tasks import Attempt, Task, queued_seconds

IDLE_LANES_UP_TO = 64
# Narrower bars get no label, not even at the deepest zoom.
LABEL_FROM_SHARE = 0.003

Fact = dict[str, str]


@dataclass(frozen=True)
class Clock:
    """Turns times of events into shares of the run, 0 to 1."""

    start: float
    seconds: float

    def share(self, time: float) -> float:
        return min(1.0, max(0.0, (time - self.start) / self.seconds))

    def style(self, begin: float, end: float) -> str:
        """CSS that places a bar."""
        left = self.share(begin) * 100
        return f"left:{left:.3f}%;width:{max(0.0, self.share(end) * 100 - left):.3f}%"


def lanes(run: RunRecord, tasks: Mapping[str, Task], clock: Clock, colours: Mapping[str, str]) -> Html:
    """All lanes with their time axis; `colours` maps groups of tasks to CSS classes."""
    facts: list[Fact] = []
    labelled = [*_zygote_lanes(run, clock, facts), *_core_lanes(run, tasks, clock, colours, facts)]
    names = [element("div", label, title=label) for label, _ in labelled]
    rows = [element("div", bars, class_="lane") for _, bars in labelled]
    return element(
        "div",
        element("div", zoom_buttons(), class_="tools"),
        frame(
            element("div", names, element("div", class_="corner"), class_="lane-names"),
            [element("div", rows, class_="lanes"), _ticks(clock)],
            label="Timeline: left and right arrow keys go from task to task. "
            "The table of tasks below says the same in words.",
        ),
        spoken(),
        data_block(facts),
        class_="timeline",
        data_timeline=True,
    )


def _core_lanes(
    run: RunRecord,
    tasks: Mapping[str, Task],
    clock: Clock,
    colours: Mapping[str, str],
    facts: list[Fact],
) -> list[tuple[str, list[Html]]]:
    """Names and bars; the bars of one attempt share one entry of `facts`, which they refer to by its index."""
    bars: dict[tuple[str, int], list[Html]] = {lane: [] for lane in _all_lanes(run, tasks)}
    labels = short_names(tasks.values())
    for task in tasks.values():
        for attempt in task.attempts:
            bar = _bar(attempt, clock, colours[task.group], labels[task.name], len(facts))
            for place in attempt.places:
                bars[place.node, place.slot].append(bar)
            facts.append(_facts(task, attempt, tasks))
    several = len({node for node, _ in bars}) > 1
    return [(f"{node} {slot}" if several else f"core {slot}", row) for (node, slot), row in bars.items()]


def _all_lanes(run: RunRecord, tasks: Mapping[str, Task]) -> list[tuple[str, int]]:
    """Slots in use, by node; idle ones too while that keeps the picture small."""
    used = {
        (place.node, place.slot) for task in tasks.values() for attempt in task.attempts for place in attempt.places
    }
    nodes = (run.first("run.started") or {}).get("nodes") or ()
    offered = {(str(node.get("name", "")), slot) for node in nodes for slot in range(int(node.get("cores") or 0))}
    return sorted(used | offered if len(used | offered) <= IDLE_LANES_UP_TO else used)


def _zygote_lanes(run: RunRecord, clock: Clock, facts: list[Fact]) -> list[tuple[str, list[Html]]]:
    """The imports of each node and profile; they overlap, so each has a lane."""
    bars: dict[tuple[str, str], Html] = {}
    for event in run.of_kind("zygote.started"):
        took = float(event.get("import_seconds") or 0)
        style = clock.style(event["time"] - took, event["time"])
        profile = str(event.get("profile") or "imports")
        bars[str(event.get("node", "")), profile] = element(
            "i", element("span", f"imports {profile}"), class_="bar zygote", style=style, data_fact=len(facts)
        )
        how = f"imports took {formats.seconds(took)}, ranks start by {event.get('start', 'fork')}"
        warning = f"; {event['warning']}" if event.get("warning") else ""
        facts.append({"name": f"zygote: {profile}", "how": how + warning, "state": "ready"})
    several = len({node for node, _ in bars}) > 1
    return [(f"{node} zygote" if several else "zygote", [bar]) for (node, _), bar in bars.items()]


def short_names(tasks: Iterable[Task]) -> dict[str, str]:
    """Names for bars: without the words that all tasks of a group begin with ("forecast.GRU" is "GRU")."""
    groups: dict[str, list[str]] = {}
    for task in tasks:
        groups.setdefault(task.group, []).append(task.name)
    short: dict[str, str] = {}
    for names in groups.values():
        shared = _shared_words(min(names), max(names)) if len(names) > 1 else 0
        short.update((name, name[shared:]) for name in names)
    return short


def _shared_words(first: str, last: str) -> int:
    """Length of the beginning that two names share, cut back to a separator."""
    alike = 0
    while alike < min(len(first), len(last)) and first[alike] == last[alike]:
        alike += 1
    return 1 + max(first.rfind(separator, 0, alike) for separator in "._-")


def _bar(attempt: Attempt, clock: Clock, colour: str, label: str, fact: int) -> Html:
    end = attempt.ended if attempt.ended is not None else clock.start + clock.seconds
    wide = (end - attempt.started) / clock.seconds >= LABEL_FROM_SHARE
    again = f" ({attempt.number})" if attempt.number > 1 else ""
    return element(
        "i",
        element("span", f"{label}{again}") if wide else None,
        class_=f"bar {colour} {attempt.outcome}",
        style=clock.style(attempt.started, end),
        data_fact=fact,
    )


def _facts(task: Task, attempt: Attempt, tasks: Mapping[str, Task]) -> dict[str, str]:
    ranks = formats.count(task.ranks, "rank") + (f", {task.backend}" if task.backend else "")
    queued = queued_seconds(task, tasks)
    waited = f", queued {formats.seconds(queued)}" if queued is not None and attempt.number == 1 else ""
    which = f"attempt {attempt.number}, " if len(task.attempts) > 1 else ""
    return {
        "name": task.name,
        "how": f"{which}{ranks}{waited}",
        "state": f"{attempt.outcome} after {formats.seconds(attempt.seconds)}"
        if attempt.ended is not None
        else "running",
    }


def _ticks(clock: Clock) -> Html:
    return element("div", list(_tick_labels(clock)), class_="time-axis", aria_hidden="true")


def _tick_labels(clock: Clock) -> Iterator[Html]:
    """Times since the run's start; each label with a line through the lanes."""
    in_minutes = clock.seconds > 300
    length = clock.seconds / 60 if in_minutes else clock.seconds
    unit = "min" if in_minutes else "s"
    coarse = value_ticks(0.0, length, 10, lambda value: f"{value:g} {unit}")
    places = {round(tick.at, 6) for tick in coarse}
    for tick in coarse:
        yield element("span", tick.label, class_=f"level-{tick.level}", style=f"left:{tick.at * 100:.2f}%")
    for tick in value_ticks(0.0, length, 60, lambda value: f"{value:g} {unit}"):
        if round(tick.at, 6) not in places:
            yield element("span", tick.label, class_="level-2", style=f"left:{tick.at * 100:.2f}%")
