from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deeprc.cli.progress import Progress
from deeprc.cli.views import LiveView, PlainView, result_table, tell_failures, view_for

EVENTS: list[dict[str, Any]] = [
    {"time": 100.0, "kind": "run.started", "run": "r", "name": "demo"},
    {"time": 100.0, "kind": "zygote.started", "node": "n7", "profile": "torch", "import_seconds": 3.0, "warning": ""},
    {"time": 100.1, "kind": "task.submitted", "task": "fit", "ranks": 2, "needs": []},
    {"time": 100.1, "kind": "task.submitted", "task": "best", "ranks": 1, "needs": ["fit"]},
    {"time": 100.5, "kind": "task.started", "task": "fit", "attempt": 1, "ranks": [{"rank": 0}, {"rank": 1}]},
    {"time": 100.6, "kind": "progress", "task": "fit", "rank": 0, "done": 5, "total": 20, "message": "epoch 5"},
    {"time": 100.6, "kind": "progress", "task": "fit", "rank": 1, "done": 9, "total": 20, "message": "other"},
    {"time": 100.7, "kind": "transfer", "task": "fit", "mode": "shared", "bytes": 1},
    {"time": 100.8, "kind": "warning", "task": "fit", "rank": 0, "message": "little memory"},
    {
        "time": 101.0,
        "kind": "task.failed",
        "task": "fit",
        "attempt": 1,
        "seconds": 0.5,
        "message": "was ended by SIGKILL\nthat is all",
        "rank": 1,
        "node": "n7",
        "output": "last words",
        "will_retry": True,
    },
    {"time": 101.1, "kind": "task.started", "task": "fit", "attempt": 2, "ranks": [{"rank": 0}, {"rank": 1}]},
]
ENDING_WELL: list[dict[str, Any]] = [
    {"time": 102.0, "kind": "task.finished", "task": "fit", "attempt": 2, "seconds": 0.9, "result": "[red]0.5\n  more"},
    {"time": 102.1, "kind": "task.started", "task": "best", "attempt": 1, "ranks": [{"rank": 0}]},
    {"time": 102.2, "kind": "task.finished", "task": "best", "attempt": 1, "seconds": 0.1, "result": "x"},
    {"time": 102.3, "kind": "run.finished", "status": "succeeded", "seconds": 2.3},
]
ENDING_BADLY: list[dict[str, Any]] = [
    {
        "time": 102.0,
        "kind": "task.failed",
        "task": "fit",
        "attempt": 2,
        "seconds": 0.9,
        "error": "ValueError",
        "message": "ValueError: no",
        "traceback": "Traceback:\n  line 3\nValueError: no",
        "output": "reading [1/2]",
        "log": "logs/rank-one-0.log",
    },
    {"time": 102.0, "kind": "task.cancelled", "task": "best", "reason": "'fit' failed"},
    {"time": 102.3, "kind": "run.finished", "status": "failed", "seconds": 2.3},
]


def fed(*events: dict[str, Any]) -> Progress:
    progress = Progress()
    for event in events:
        progress.update(event)
    return progress


def drawn(thing: Any, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=100, **options)
    console.print(*thing if isinstance(thing, list) else [thing])
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_progress_is_what_the_events_say() -> None:
    """State, ranks, attempts and how far rank 0 is, in the order of submission."""
    half = fed(*EVENTS[:9])
    fit, best = half.tasks.values()
    assert (fit.status, fit.ranks, fit.fraction, fit.message) == ("running", 2, 0.25, "epoch 5")
    assert (best.status, half.count("waiting", "running"), half.warnings) == ("waiting", 2, ["fit: little memory"])
    assert fed(*EVENTS[:10]).tasks["fit"].status == "retrying"
    again = fed(*EVENTS).tasks["fit"]
    assert (again.status, again.attempt, again.fraction) == ("running", 2, None)


def test_success_is_success_of_every_task() -> None:
    """A task that did not end well, or not at all, is no success."""
    assert fed(*EVENTS, *ENDING_WELL).all_succeeded
    assert not fed(*EVENTS, *ENDING_BADLY).all_succeeded
    assert not fed(*EVENTS).all_succeeded


def test_unknown_events_are_ignored() -> None:
    """A reader ignores what it does not know."""
    assert Progress().update({"time": 1.0, "kind": "news.of.tomorrow"}) is None


def test_without_a_terminal_each_change_is_a_line() -> None:
    """Lines begin with the seconds since the start, and say task, change and reason."""
    console = Console(file=io.StringIO(), width=60)
    with view_for(console, Progress()) as view:
        assert isinstance(view, PlainView)
        for event in [*EVENTS, *ENDING_WELL]:
            view.show(event)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.splitlines() == [
        "[    0.0 s] n7: ready for torch after 3.0 s",
        "[    0.5 s] fit: started on 2 ranks",
        "[    0.8 s] warning: fit: little memory",
        "[    1.0 s] fit: failed, will be tried again: rank 1 on n7: was ended by SIGKILL",
        "[    1.1 s] fit: started on 2 ranks, attempt 2",
        "[    2.0 s] fit: succeeded in 0.9 s",
        "[    2.1 s] best: started on 1 rank",
        "[    2.2 s] best: succeeded in 0.1 s",
        "[    2.3 s] run succeeded after 2.3 s",
    ]


def test_in_a_terminal_the_table_shows_every_task() -> None:
    """The live view names each task with its state, and sums up."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with view_for(console, Progress()) as view:
        assert isinstance(view, LiveView)
        for event in EVENTS[:9]:
            view.show(event)
        text = drawn(view)
    assert "fit" in text
    assert "epoch 5" in text
    assert "waiting" in text
    assert "warning: fit: little memory" in text
    assert "0 of 2 tasks done, 1 running" in text


@pytest.mark.parametrize("tasks", [5, 500])
def test_a_large_run_fits_the_terminal(tasks: int) -> None:
    """With more tasks than lines, those that run are shown first."""
    progress = Progress()
    for index in range(tasks):
        progress.update({"time": 1.0, "kind": "task.submitted", "task": f"t{index}", "ranks": 1})
    progress.update({"time": 1.0, "kind": "task.started", "task": f"t{tasks - 1}", "ranks": [{}]})
    console = Console(file=io.StringIO(), width=80, height=24)
    text = drawn(LiveView(console, progress))
    assert len(text.splitlines()) <= 24
    assert f"t{tasks - 1} " in text


def test_the_result_table_has_a_row_for_each_task() -> None:
    """A result is shown as it is, not as markup."""
    text = drawn(result_table(fed(*EVENTS, *ENDING_WELL)))
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [["fit", "succeeded"], ["best", "succeeded"]]
    assert "[red]0.5 more" in text


def test_a_failure_is_shown_with_the_user_s_traceback() -> None:
    """With what it printed last and the log of its rank; tasks that were cancelled have their reason in the table."""
    progress = fed(*EVENTS, *ENDING_BADLY)
    console = Console(file=io.StringIO(), width=60)
    tell_failures(console, progress, Path("/a/folder/with/a/long/name/that/no/terminal/breaks/runs/one"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count(" failed ") == 1 and "fit failed" in text
    assert "line 3" in text and "reading [1/2]" in text
    assert "/a/folder/with/a/long/name/that/no/terminal/breaks/runs/one/logs/rank-one-0.log\n" in text
    assert "'fit' failed" in drawn(result_table(progress))


def test_plain_lines_tell_from_time_to_time_how_far_a_task_is() -> None:
    """Where there is no terminal a long task is told of twice a minute, not at each step."""
    output = io.StringIO()
    view = PlainView(Console(file=output, width=160), Progress())
    for event in EVENTS[:5]:
        view.show(event)
    for second in range(70):
        view.show({**EVENTS[5], "time": 101.0 + second, "done": second, "total": 100, "message": f"step {second}"})
    assert [line.partition("] ")[2] for line in output.getvalue().splitlines()[-2:]] == [
        "fit: 30 % step 30",
        "fit: 60 % step 60",
    ]
