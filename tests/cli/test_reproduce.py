"""A run is run again just as it was, or refused; and whether its numbers came out the same is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deeprc.report.numbers import same_texts
from tests.cli.comparable_runs import deeprc, write_pipeline


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run, `runs/first`, and what it was made from."""
    write_pipeline(tmp_path)
    assert deeprc(tmp_path, "run", "p.yaml", "--cores", 2, "--run-dir", "runs/first").returncode == 0
    return tmp_path


def runs(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "runs").iterdir())


def test_the_same_numbers_end_with_0(folder: Path) -> None:
    """From the frozen spec, not the file; every task runs anew; report, summary and comparison are written."""
    (folder / "p.yaml").unlink()
    done = deeprc(folder, "reproduce", "first", "--out", "out", "--run-dir", "runs/again")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Reproduced: 2 metrics, and status and result of 3 tasks, are the same as in first" in done.stdout
    assert done.stderr == ""
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "comparison.json",
        "report.html",
        "summary.json",
    ]
    events = (folder / "runs/again/events.jsonl").read_text()
    assert events.count('"kind":"task.finished"') == 3
    assert "task.reused" not in events
    assert json.loads((folder / "out/comparison.json").read_text())["same"] is True


def test_what_has_changed_is_refused_before_any_work(folder: Path) -> None:
    """Inputs by content, code by what it does: each is named, and no run is left. A comment is no change."""
    steps = folder / "steps.py"
    steps.write_text(f"# A comment.\n{steps.read_text()}")
    (folder / "data.csv").write_text("4,5,6\n")
    done = deeprc(folder, "reproduce", "first")
    assert done.returncode == 2
    assert f"input {folder}/data.csv has changed" in done.stderr
    assert "the code of" not in done.stderr
    (folder / "data.csv").unlink()
    steps.write_text(steps.read_text().replace("min(fits)", "max(fits)"))
    done = deeprc(folder, "reproduce", "first")
    assert done.returncode == 2
    assert f"input {folder}/data.csv is gone" in done.stderr
    assert "the code of task 'best' has changed" in done.stderr
    assert runs(folder) == ["first"]


def test_other_numbers_end_with_1_and_are_told_with_their_reason(folder: Path) -> None:
    """With --anyway the changed input is read; the metric is shown beside the earlier one."""
    (folder / "data.csv").write_text("1,2,3\n4,5,6\n")
    done = deeprc(folder, "reproduce", "first", "--anyway")
    assert done.returncode == 1
    assert "Not reproduced: of 2 metrics" in done.stdout
    assert "6  12  +6 (+100 %)" in done.stdout
    assert f"input {folder}/data.csv is another" in done.stdout.replace("\n    ", " ")
    assert f"Warning: input {folder}/data.csv has changed" in done.stderr
    assert len(runs(folder)) == 2
    assert deeprc(folder, "reproduce", "first", "--anyway", "--tolerance", "0.5").returncode == 0


def test_packages_of_other_versions_are_warned_of(folder: Path) -> None:
    """And the run goes on: its numbers say whether they matter."""
    path = folder / "runs/first/environment.json"
    environment = json.loads(path.read_text())
    environment["packages"]["polars"] = "0.1"
    path.write_text(json.dumps(environment))
    done = deeprc(folder, "reproduce", "first")
    assert done.returncode == 0
    assert "Warning: versions differ: polars 0.1 -> " in done.stderr


def test_a_run_that_failed_is_reproduced_if_it_fails_again(folder: Path) -> None:
    """In the same tasks; of one that did not end it is said how to end it."""
    assert deeprc(folder, "run", "p.yaml", "--set", "models=[a, bad]", "--run-dir", "runs/bad").returncode == 1
    done = deeprc(folder, "reproduce", "bad")
    assert done.returncode == 0, done.stdout
    events = folder / "runs/bad/events.jsonl"
    events.write_text("".join(line for line in events.read_text().splitlines(True) if "run.finished" not in line))
    done = deeprc(folder, "reproduce", "bad")
    assert (done.returncode, "is unfinished" in done.stderr, "--resume" in done.stderr) == (2, True, True)


def test_a_script_s_run_is_refused_with_the_script(tmp_path: Path) -> None:
    """Its command line and its working directory are said."""
    (tmp_path / "script.py").write_text(
        "import deeprc as rc\n\n\ndef one():\n    return 1\n\n\n"
        "with rc.Session(cores=1, run_dir='runs/scripted') as session:\n    session.submit(one)\n"
    )
    subprocess.run([sys.executable, "script.py", "--depth", "3"], cwd=tmp_path, check=True, timeout=60)
    done = deeprc(tmp_path, "reproduce", "scripted")
    assert done.returncode == 2
    assert f"Run python script.py --depth 3 again in {tmp_path}; then compare: deeprc diff" in done.stderr


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("{'mae': 0.25}", "{'mae': 0.2500000001}", True),
        ("{'mae': 0.25}", "{'mae': 0.26}", False),
        ("{'mae': 0.25}", "{'mse': 0.25}", False),
        ("<Model at 0x7f01>", "<Model at 0x7f02>", True),
        ("[-1e-3, nan]", "[-1.0e-3, nan]", True),
        ("model1", "model2", False),
    ],
)
def test_texts_are_the_same_if_their_words_and_numbers_are(a: str, b: str, same: bool) -> None:
    """Numbers within the tolerance; digits of a name are no number; addresses say nothing."""
    assert same_texts(a, b, 1e-6) is same
