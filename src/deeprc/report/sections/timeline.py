"""How the run spent its time: the lanes of its cores, what their colours mean, and every task in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from deeprc.journal import RunRecord
from deeprc.report import formats
from deeprc.report.markup import Html, Node, element
from deeprc.report.sections.lanes import Clock, lanes
from deeprc.report.sections.section import Section, section
from deeprc.report.sections.task_table import task_table
from deeprc.report.tasks import Task, tasks_of
from deeprc.report.verdict import verdict_of

GROUP_COLOURS = 6


def timeline_section(run: RunRecord) -> Section | None:
    """Lanes, legend, and the table of tasks; None before the first task."""
    tasks = tasks_of(run)
    if not tasks:
        return None
    verdict = verdict_of(run)
    clock = Clock(verdict.started, verdict.seconds or 1.0)
    groups = group_colours(tasks.values())
    busy = f" The cores were busy {verdict.busy_share:.0%} of the run." if verdict.busy_share is not None else ""
    return section(
        "timeline",
        "Timeline",
        "Timeline of ranks and tasks",
        _legend(groups, tasks.values()),
        lanes(run, tasks, clock, groups),
        task_table(tasks, clock.style, groups, clock.start + clock.seconds),
        lead=f"One lane for each core; a bar is one rank at work for a task.{busy}",
    )


def group_colours(tasks: Iterable[Task]) -> dict[str, str]:
    """CSS class for each group of tasks, the groups in order of submission."""
    groups = list(dict.fromkeys(task.group for task in tasks))
    return {group: f"fill-{min(index, GROUP_COLOURS) + 1}" for index, group in enumerate(groups)}


def _legend(groups: Mapping[str, str], tasks: Iterable[Task]) -> Html:
    counts = Counter(task.group for task in tasks)
    shown: list[Node] = [
        element(
            "li",
            element("i", class_=f"key {colour}"),
            _readable(group, groups),
            " ",
            element("small", formats.count(counts[group], "task")),
        )
        for group, colour in list(groups.items())[:GROUP_COLOURS]
    ]
    others = list(groups)[GROUP_COLOURS:]
    if others:
        words = formats.count(len(others), "other function")
        number = element("small", formats.count(sum(counts[group] for group in others), "task"))
        shown.append(element("li", element("i", class_=f"key {groups[others[0]]}"), words, " ", number))
    states = [("zygote", "zygote imports"), ("failed", "failed"), ("cancelled", "ended early")]
    shown += [element("li", element("i", class_=f"key {state}"), words) for state, words in states]
    return element("ul", shown, class_="keys", aria_label="Colours of the timeline")


def _readable(group: str, groups: Iterable[str]) -> str:
    """A function without its module, unless two modules have one of that name."""
    module, _, name = group.rpartition(":")
    others = [f".{other.rpartition(':')[0]}" for other in groups if other != group and other.endswith(f":{name}")]
    if not others or not module:
        return name
    words = module.split(".")
    for depth in range(1, len(words)):
        end = ".".join(words[-depth:])
        if not any(other.endswith(f".{end}") for other in others):
            return f"{name} ({end})"
    return f"{name} ({module})"
