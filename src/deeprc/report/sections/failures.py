"""What went wrong: tracebacks and last output, and which tasks were cancelled because of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deeprc.journal import RunRecord
from deeprc.journal.events import Event
from deeprc.report import formats
from deeprc.report.markup import Html, Node, element, folded
from deeprc.report.sections.section import Section, section
from deeprc.report.tasks import Attempt, Task, tasks_of

UNFOLDED = 10
LONG_LIST = 12


def failures_section(run: RunRecord, unreadable: Sequence[str]) -> Section | None:
    """Tasks that failed, also those that a retry saved; cancelled tasks; warnings. None if all went well."""
    tasks = tasks_of(run)
    failed = [task for task in tasks.values() if any(attempt.failure for attempt in task.attempts)]
    failed.sort(key=lambda task: task.status != "failed")
    cards = [_card(task, tasks) for task in failed]
    explained = {name for task in failed for name in dependents(task.name, tasks)}
    others = [task for task in tasks.values() if task.status == "cancelled" and task.name not in explained]
    warnings = [_warning(event) for event in run.of_kind("warning")]
    warnings += [
        f"{event.get('node', '')}: {event['warning']}"
        for event in run.of_kind("zygote.started")
        if event.get("warning")
    ]
    warnings += [f"An artifact can't be shown: {reason}" for reason in unreadable]
    if not (cards or others or warnings):
        return None
    rest = cards[UNFOLDED:]
    return section(
        "failures",
        "Failures",
        "What failed" if cards or others else "Warnings",
        cards[:UNFOLDED],
        folded(f"{len(rest)} more", rest) if rest else None,
        _cancelled("Cancelled for another reason" if cards else "Cancelled", others),
        _list("Warnings", warnings),
    )


def dependents(name: str, tasks: Mapping[str, Task]) -> list[str]:
    """Cancelled tasks that need a task, directly or through others, in order of submission."""
    reached = {name}
    found: list[str] = []
    for task in tasks.values():
        if task.status == "cancelled" and reached.intersection(task.needs):
            reached.add(task.name)
            found.append(task.name)
    return found


def _card(task: Task, tasks: Mapping[str, Task]) -> Html:
    attempts = [attempt for attempt in task.attempts if attempt.failure is not None]
    cancelled = [tasks[name] for name in dependents(task.name, tasks)]
    saved = task.status == "succeeded"
    verdict = f"succeeded on attempt {task.attempts[-1].number}" if saved else task.status
    return element(
        "article",
        element("h3", task.name, " ", element("small", verdict, class_=f"tag {task.status}")),
        [_attempt(attempt, attempt.failure or {}, len(task.attempts)) for attempt in attempts],
        _cancelled("Cancelled because of it", cancelled) if not saved else None,
        class_=f"failure {'saved' if saved else ''}".strip(),
    )


def _attempt(attempt: Attempt, failure: Event, of: int) -> Html:
    """One failed attempt. The traceback is open: it is what the reader came for."""
    error, message = str(failure.get("error") or "failed"), str(failure.get("message") or "")
    retried = ", then tried again" if failure.get("will_retry") else ""
    where = f"attempt {attempt.number} of {of}, after {formats.seconds(attempt.seconds)}{retried}"
    return element(
        "div",
        element("p", element("strong", error), ": " if message else "", message, class_="error"),
        element("p", " · ".join([*_whereabouts(failure), where]), class_="note"),
        _output("Traceback", failure.get("traceback"), open_=True),
        _output("Last output of the rank", failure.get("output"), open_=not failure.get("traceback")),
    )


def _whereabouts(failure: Event) -> Iterable[str]:
    how = ("exit_code", "exit code") if not failure.get("signal") else ("signal", "signal")
    names = (("rank", "rank"), ("node", "node"), how, ("log", "log"))
    return [f"{shown} {failure[name]}" for name, shown in names if failure.get(name) not in (None, "")]


def _output(title: str, content: object, *, open_: bool) -> Html | None:
    if not content:
        return None
    return folded(title, element("pre", str(content).strip("\n"), tabindex=0), open_=open_)


def _cancelled(title: str, tasks: Sequence[Task]) -> Html | None:
    return _list(title, [[element("strong", task.name), f": {task.reason}"] for task in tasks])


def _list(title: str, items: Sequence[Node]) -> Html | None:
    if not items:
        return None
    shown = element("ul", [element("li", item) for item in items], class_="plain")
    if len(items) > LONG_LIST:
        return folded(f"{title}: {len(items)}", shown)
    return element("div", element("h4", title), shown)


def _warning(event: Event) -> str:
    task, rank = event.get("task"), event.get("rank")
    where = f"{task}, rank {rank}: " if task and rank is not None else f"{task}: " if task else ""
    return f"{where}{event.get('message', '')}"
