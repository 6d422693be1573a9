"""What a run did, and what differs between two, is told from their records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import deeprc as rc
from deeprc.cli.run_text import run_lines
from deeprc.cli.task_text import task_lines
from deeprc.journal import read_run
from deeprc.report import compare, describe_run, describe_task
from deeprc.report.tasks import tasks_of
from tests.cli.comparable_runs import deeprc, write_pipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `first`, `scaled` (another parameter, and a model that fails), and `edited` (other data and code)."""
    folder = tmp_path_factory.mktemp("compared")
    write_pipeline(folder)
    assert deeprc(folder, "run", "p.yaml", "--cores", 2, "--run-dir", "runs/first").returncode == 0
    settings = ("--set", "scale=2.0", "--set", "models=[a, bad]")
    assert deeprc(folder, "run", "p.yaml", "--cores", 2, *settings, "--run-dir", "runs/scaled").returncode == 1
    (folder / "data.csv").write_text("1,2,3\n4,5,6\n")
    steps = folder / "steps.py"
    steps.write_text(steps.read_text().replace("min(fits)", "min(fits) + 1"))
    assert deeprc(folder, "run", "p.yaml", "--cores", 2, "--run-dir", "runs/edited").returncode == 0
    return folder


def told(folder: Path, *arguments: object) -> str:
    done = deeprc(folder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def compared(folder: Path, a: str, b: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(told(folder, "diff", a, b, "--json"))
    return found


def test_a_run_is_told_on_one_screen(folder: Path) -> None:
    """Status, place, tasks, the failure with its last lines and log, metrics, inputs: in 80 columns and 40 lines."""
    text = told(folder, "show", "scaled")
    for part in (
        "p: failed, ",
        "Where: local, 1 node (localhost), 2 cores",
        "Tasks: 1 failed, 1 cancelled, 1 succeeded",
        "ValueError: this model diverged",
        "about to fail",
        "Metrics: Errors",
        f"{folder}/data.csv",
    ):
        assert part in text
    lines = text.splitlines()
    assert len(lines) < 40
    assert [line for line in lines if len(line) > 80 and str(folder) not in line] == []
    (log,) = [line.removeprefix("  Log: ") for line in lines if line.startswith("  Log: ")]
    assert "about to fail" in Path(log).read_text()


def test_a_task_is_told_with_its_arguments_and_logs(folder: Path) -> None:
    """Also the input that another task had named before it, and what it printed is in the log that is named."""
    text = told(folder, "show", "first", "fit-b")
    for part in ("fit-b of run first: succeeded", 'model: "b"', "scale: 1.0", "started on 1 rank", "Result: 6.0"):
        assert part in text
    assert f"Input: {folder}/data.csv (6 B" in text
    described = json.loads(told(folder, "show", "first", "fit-b", "--json"))
    assert described["kwargs"]["model"] == "b"
    assert all(Path(log).is_file() for log in described["logs"])
    assert described["logs"]
    assert "this model diverged" in told(folder, "show", "scaled", "fit-bad")


def test_a_run_can_be_told_of_at_every_moment(folder: Path, tmp_path: Path) -> None:
    """After each of its events, also where the spec is not yet written: no error, and it is called unfinished."""
    shutil.copy(folder / "runs/scaled/environment.json", tmp_path)
    lines = (folder / "runs/scaled/events.jsonl").read_text().splitlines(keepends=True)
    for number in range(1, len(lines)):
        (tmp_path / "events.jsonl").write_text("".join(lines[:number]))
        record = read_run(tmp_path)
        assert "unfinished" in next(run_lines(describe_run(record), everything=False))
        for task in tasks_of(record):
            assert list(task_lines(describe_task(record, task), record.events))
        assert compare(record, record)["same"] is True


def test_a_run_as_json_has_what_its_summary_has_and_more(folder: Path) -> None:
    """`summary.json` is part of it; inputs and failures are there whole."""
    described = json.loads(told(folder, "show", "scaled", "--json"))
    summary = json.loads((folder / "runs/scaled/summary.json").read_text())
    assert {key: described[key] for key in summary} == summary
    assert [failure["task"] for failure in described["failures"]] == ["fit-bad"]
    assert [item["bytes"] for item in described["inputs"]] == [6]


def test_what_was_told_otherwise_is_found_and_explains_the_numbers(folder: Path) -> None:
    """A parameter, a task in the place of another, a task that no longer ran; and nothing that did not differ."""
    text = told(folder, "diff", "first", "scaled")
    for part in ("Tasks only in B: fit-bad", "Tasks only in A: fit-b", "scale: 1 -> 2   in fit-a", "+6 (+100 %)"):
        assert part in text
    assert "fit-a: kwargs.scale is another" in text
    assert "Input files" not in text
    assert "Packages" not in text
    assert [line for line in text.splitlines() if len(line) > 80 and str(folder) not in line] == []
    found = compared(folder, "first", "scaled")
    assert found["status"] == {"best": ["succeeded", "cancelled"]}
    assert found["results"] == {"fit-a": ["6.0", "12.0"]}
    assert found["same"] is found["same_numbers"] is False


def test_changed_data_and_code_are_found_by_content(folder: Path) -> None:
    """The file's path and the function's name are as they were; each task is told its own reason."""
    found = compared(folder, "first", "edited")
    assert (found["tasks_changed"], found["code_changed"]) == ({}, ["best"])
    assert [change["how"] for change in found["inputs"].values()] == ["changed"]  # type: ignore[attr-defined]
    causes = found["causes"]
    assert isinstance(causes, dict)
    assert causes["fit-b"] == [f"input {folder}/data.csv is another"]
    assert causes["best"][0] == "the code of its function is another"
    assert "it needs fit-a, fit-b" in causes["best"][1]


def test_packages_of_another_version_are_named(folder: Path, tmp_path: Path) -> None:
    """With both versions, and as the reason for numbers that nothing else explains."""
    other = shutil.copytree(folder / "runs/first", tmp_path / "other")
    environment = json.loads((other / "environment.json").read_text())
    environment["packages"]["polars"] = "0.1"
    (other / "environment.json").write_text(json.dumps(environment))
    events = (other / "events.jsonl").read_text()
    (other / "events.jsonl").write_text(events.replace('"result":"6.0"', '"result":"6.00001"'))
    found = compared(folder, "first", str(other))
    assert list(found["packages"]) == ["polars"]  # type: ignore[call-overload]
    assert found["causes"]["fit-a"] == ["packages differs"]  # type: ignore[index]
    assert json.loads(told(folder, "diff", "first", other, "--tolerance", "1e-5", "--json"))["results"] == {}


def test_times_in_metric_tables_are_no_difference(tmp_path: Path) -> None:
    """A column that its table calls a timing is not compared; another of the same table is."""
    for name, seconds, error in (("one", 1.5, 3.0), ("two", 9.5, 4.0)):
        with rc.Session(cores=1, run_dir=tmp_path / "runs" / name) as session:
            session.submit(leave, seconds, error, name="leave")
    found = compared(tmp_path, "one", "two")
    assert found["metrics"] == {"Fits": {"a": {"MAE": [3.0, 4.0]}}}
    assert found["compared"] == {"metrics": 1, "tasks": 1}


def leave(seconds: float, error: float) -> None:
    columns = ["training [s]", "MAE"]
    rc.record_artifact(rc.MetricTable("Fits", columns, {"a": [seconds, error]}, timings=["training [s]"]))


def test_runs_that_are_the_same_are_called_so(folder: Path) -> None:
    """A repeated run differs in its directory, its processes and its times, and in nothing that is told."""
    (folder / "again").mkdir(exist_ok=True)
    write_pipeline(folder / "again")
    for name in ("one", "two"):
        assert deeprc(folder / "again", "run", "p.yaml", "--cores", 2, "--run-dir", f"runs/{name}").returncode == 0
    text = told(folder / "again", "diff", "one", "two")
    assert text.splitlines()[2:] == [
        "What went in: the same (tasks, arguments, input files, packages, machine)",
        "What came out: the same (metrics, results, status of tasks)",
    ]
    assert compared(folder / "again", "one", "two")["same"] is True


def double(x: int) -> int:
    return 2 * x


def test_a_script_s_run_is_shown_without_its_arguments(tmp_path: Path) -> None:
    """They are in the script, and it says so; two such runs can be compared."""
    for name, x in (("one", 1), ("two", 2)):
        with rc.Session(cores=1, run_dir=tmp_path / "runs" / name) as session:
            session.submit(double, x, name="double")
    assert "Arguments: not kept" in told(tmp_path, "show", "one", "double")
    text = told(tmp_path, "diff", "one", "two")
    assert "Code: not known of double" in text
    assert "double  2  4" in text


@pytest.mark.parametrize("command", [["show", "RUN"], ["diff", "first", "RUN"]])
@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("none", "no run 'none' in"),
        ("20", "2 runs start with '20'"),
        ("broken", "events.jsonl:2: the record of this run is damaged"),
    ],
)
def test_runs_that_cannot_be_told_of_are_refused(folder: Path, command: list[str], run: str, message: str) -> None:
    """Unknown, ambiguous, damaged: one message, exit code 1, no traceback."""
    for name in ("20300101-a", "20300101-b"):
        shutil.copytree(folder / "runs/first", folder / "runs" / name, dirs_exist_ok=True)
    broken = shutil.copytree(folder / "runs/first", folder / "runs/broken", dirs_exist_ok=True) / "events.jsonl"
    first, _, rest = broken.read_text().partition("\n")
    broken.write_text(f"{first}\n{{cut\n{rest}")
    done = deeprc(folder, *[run if word == "RUN" else word for word in command])
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_task_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    """show RUN TASK."""
    done = deeprc(folder, "show", "first", "fit-c")
    assert done.returncode == 1
    assert "no task 'fit-c'. Did you mean" in done.stderr
