"""The numbers of a run: tasks put together from events, the summary, the history."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprc.errors import JournalError
from deeprc.journal import read_run
from deeprc.journal.durations import remembered_durations
from deeprc.report import history_rows, summarise, write_report
from deeprc.report.tasks import queued_seconds, tasks_of
from deeprc.report.verdict import verdict_of
from tests.report.demo_journal import MODELS, demo_journal
from tests.report.journals import Story, begin, crowded_journal, empty_journal, live_journal


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_journal(tmp_path_factory.mktemp("runs") / "demo-run")


def test_summary_holds_the_numbers_of_the_demo(demo: Path) -> None:
    """Metrics by table, seconds by task, ranks and bytes are those that the journal tells of."""
    summary = summarise(read_run(demo))
    assert summary["run"] == "demo-run"
    assert summary["status"] == "failed"
    assert (summary["pilot"], summary["nodes"], summary["cores"]) == ("local", 1, 2)
    assert summary["ranks_started"] == 5
    backtest = summary["metrics"]["Backtest of eleven models"]
    assert set(backtest) == {*MODELS, "SeasonalNaive"}
    assert backtest["NBEATS"]["MAE [departures / h]"] == 2.0
    assert backtest["TCN"]["MASE"] is None
    assert summary["metrics"]["Rivers"]["Leaf River: LSTM"]["NSE"] == 0.768
    assert summary["tasks"]["flights"] == {
        "status": "succeeded",
        "seconds": 1.4,
        "queued_seconds": pytest.approx(1.8),
        "ranks": 2,
        "backend": "mpi",
        "attempts": 1,
        "peak_memory_bytes": None,
    }
    assert summary["bytes_shared"] == 2 * len(MODELS) * 208_920
    assert summary["bytes_copied"] == len(MODELS) * 78_345 + 2 * 2_640_000
    assert summary["bytes_exchanged"] == 2 * (1_250_000 + 402_000 + 88_000) + 3 * 1000


def test_summary_is_json(demo: Path) -> None:
    """A summary can be written as JSON and read back unchanged."""
    summary = summarise(read_run(demo))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_tables_of_one_title_are_merged(tmp_path: Path) -> None:
    """Each river's task may leave its own row of a common table."""
    from deeprc.journal import MetricTable

    story = Story(tmp_path)
    begin(story)
    for river, nse in (("Fulda", 0.8), ("Leaf", 0.7)):
        story.leave(1, river, MetricTable("Rivers", ["NSE"], {river: [nse]}, ["higher"]))
    assert summarise(read_run(tmp_path))["metrics"] == {"Rivers": {"Fulda": {"NSE": 0.8}, "Leaf": {"NSE": 0.7}}}


def test_a_retried_task_has_succeeded_on_its_second_attempt(demo: Path) -> None:
    """A task that a retry saved counts as succeeded and keeps the failure of its first attempt."""
    task = tasks_of(read_run(demo))["forecast.Autoformer"]
    assert task.status == "succeeded"
    assert [attempt.outcome for attempt in task.attempts] == ["failed", "succeeded"]
    failure = task.attempts[0].failure
    assert failure is not None and failure["signal"] == "SIGKILL"


def test_cancelled_tasks_never_started(demo: Path) -> None:
    """A dependent of a failed task is cancelled with its reason, without attempts and without seconds."""
    task = tasks_of(read_run(demo))["residual-plot"]
    assert (task.status, task.attempts, task.seconds) == ("cancelled", (), None)
    assert "residuals" in task.reason


def test_queueing_counts_from_the_last_input(demo: Path) -> None:
    """Waiting for inputs is not queueing: a task queues from when the last input was there."""
    tasks = tasks_of(read_run(demo))
    nbeats = tasks["forecast.NBEATS"]
    finished = tasks["flights"].closed
    assert finished is not None
    assert queued_seconds(nbeats, tasks) == pytest.approx(nbeats.attempts[0].started - finished)
    assert queued_seconds(tasks["residual-plot"], tasks) is None


def test_a_run_that_goes_on_is_unfinished(tmp_path: Path) -> None:
    """Without its end a run is "unfinished" and has taken the time until its last event."""
    run = read_run(live_journal(tmp_path / "live"))
    verdict = verdict_of(run)
    assert verdict.status == "unfinished"
    assert verdict.seconds == pytest.approx(4.6)
    statuses = {name: task.status for name, task in tasks_of(run).items()}
    assert statuses == {"clean": "succeeded", "fit": "running", "judge": "waiting"}


def test_a_task_that_waits_for_its_retry_is_waiting(tmp_path: Path) -> None:
    """Between a failure and the retry a task has not failed."""
    story = Story(tmp_path)
    story.submit(0, "fit")
    story.start(1, "fit", 0)
    story.tell(2, "task.failed", task="fit", attempt=1, seconds=1, error="RankDiedError", will_retry=True)
    assert tasks_of(read_run(tmp_path))["fit"].status == "waiting"


def test_a_task_that_was_cancelled_at_work_ends_then(tmp_path: Path) -> None:
    """Cancelling ends the running attempt."""
    story = Story(tmp_path)
    story.submit(0, "fit")
    story.start(1, "fit", 0)
    story.tell(3, "task.cancelled", task="fit", reason="the session was left")
    task = tasks_of(read_run(tmp_path))["fit"]
    assert task.status == "cancelled"
    assert (task.attempts[0].outcome, task.attempts[0].seconds) == ("cancelled", pytest.approx(2))


def test_an_empty_run_is_summed_up(tmp_path: Path) -> None:
    """A run that was ended before its first event has a summary of zeros."""
    summary = summarise(read_run(empty_journal(tmp_path / "empty")))
    assert (summary["status"], summary["seconds"], summary["tasks"]) == ("unfinished", 0.0, {})


def test_history_has_a_row_for_each_run(tmp_path: Path) -> None:
    """Rows come oldest first, with tasks counted by outcome; a damaged journal is a row, not an error."""
    demo_journal(tmp_path / "20260101-000000-aaaaaa")
    crowded_journal(tmp_path / "20260102-000000-bbbbbb", tasks=20)
    damaged = empty_journal(tmp_path / "20260103-000000-cccccc")
    (damaged / "events.jsonl").write_bytes(b"\xff not JSON\n")
    (tmp_path / "notes").mkdir()
    first, second, third = history_rows(tmp_path)
    assert (first.run, first.name, first.status) == ("20260101-000000-aaaaaa", "demo", "failed")
    assert (first.succeeded, first.failed, first.cancelled) == (15, 1, 2)
    assert (second.status, second.succeeded, second.failed) == ("succeeded", 20, 0)
    assert third.status == "unreadable"
    assert history_rows(tmp_path / "absent") == []


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """A report of a folder that holds no run says how to find one, and writes nothing."""
    with pytest.raises(JournalError, match="deeprc history"):
        write_report(tmp_path, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("second_line", "reason"),
    [(b"\xff not JSON", "'utf-8' codec"), (b'{"kind": ', "Expecting value"), (b"[1]", "list in place of an object"),
     (b'{"kind": "input"}', "no kind or no time")],
)  # fmt: skip
def test_a_damaged_record_is_told_with_its_line(tmp_path: Path, second_line: bytes, reason: str) -> None:
    """Reports, and sessions that look for earlier runs' durations, get an error of ours, or do without."""
    run = empty_journal(tmp_path / "20260103-000000-cccccc")
    with (run / "events.jsonl").open("ab") as journal:
        journal.write(b'{"time": 1.0, "kind": "run.started"}\n' + second_line + b"\n")
    with pytest.raises(JournalError, match=rf"events.jsonl:\d+: the record of this run is damaged: .*{reason}"):
        read_run(run)
    assert remembered_durations(tmp_path) == {}
