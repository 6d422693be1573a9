"""Old runs go when they are told to, and only they."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deeprc.cli.main import app


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four runs, one a day; the last but one resumes the first, the last has no end."""
    monkeypatch.setenv("DEEPRC_RUNS", str(tmp_path))
    for number in range(4):
        run = tmp_path / f"2030010{number}-000000-aaaaa{number}"
        (run / "datasets").mkdir(parents=True)
        (run / "datasets" / "rows.arrow").write_bytes(b"x" * 50_000)
        began = {
            "kind": "run.started",
            "run": run.name,
            "name": f"n{number}",
            "time": time.time() - 86400 * (4 - number),
        }
        if number == 2:
            began["resumes"] = str(tmp_path / "20300100-000000-aaaaa0")
        ended = {"kind": "run.finished", "status": "succeeded", "seconds": 1.0, "time": began["time"]}
        events = [began] if number == 3 else [began, ended]
        (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (tmp_path / "20300105-notes").mkdir()
    return tmp_path


def deeprc(*arguments: object, answer: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=answer)


def left(root: Path) -> list[str]:
    return sorted(path.name[7:8] for path in root.glob("*-0*"))


def test_sizes_are_told(root: Path) -> None:
    """Each run's room on disk, and that of all."""
    rows = json.loads(deeprc("history", "--json", "--sizes").output)
    assert [row["bytes"] > 50_000 for row in rows] == [True] * 4
    assert "all" in deeprc("history", "--sizes").output


def test_named_runs_go_after_a_yes(root: Path) -> None:
    """Without a yes nothing goes; with it the run named, and no other."""
    assert deeprc("remove", "20300101", answer="n\n").exit_code == 1
    assert left(root) == ["0", "1", "2", "3"]
    result = deeprc("remove", "20300101", answer="y\n")
    assert result.exit_code == 0, result.output
    assert left(root) == ["0", "2", "3"]
    assert (root / "20300105-notes").is_dir()


def test_what_is_still_used_or_may_run_stays_unless_forced(root: Path) -> None:
    """A run whose data a later one uses, and one that has not ended, are spared, and it is said why."""
    result = deeprc("remove", "20300100", "20300103", "--yes")
    assert "20300102-000000-aaaaa2 resumed it" in result.output
    assert "it is unfinished, and may still run" in result.output
    assert left(root) == ["0", "1", "2", "3"]
    deeprc("remove", "20300100", "20300103", "--yes", "--force")
    assert left(root) == ["1", "2"]


def test_runs_are_chosen_by_age_and_number(root: Path) -> None:
    """--older-than and --keep hold together; a run that resumes another may go with it."""
    assert deeprc("remove", "--keep", 4).output.strip() == "Nothing to remove."
    assert deeprc("remove", "--older-than", "60h", "--keep", 3, "--yes").exit_code == 0
    assert left(root) == ["0", "1", "2", "3"]
    deeprc("remove", "--keep", 1, "--yes")
    assert left(root) == ["3"]


def test_data_alone_may_go(root: Path) -> None:
    """The record stays, and can be read and reported."""
    deeprc("remove", "20300101", "--data-only", "--yes")
    assert left(root) == ["0", "1", "2", "3"]
    assert not (root / "20300101-000000-aaaaa1" / "datasets").exists()
    assert deeprc("report", "20300101").exit_code == 0


def test_a_choice_that_says_nothing_is_refused(root: Path) -> None:
    """No runs, two ways of choosing at once, and a duration that is none."""
    assert "say which runs" in deeprc("remove").output
    assert "not both" in deeprc("remove", "20300101", "--keep", 1).output
    assert "takes a duration" in deeprc("remove", "--older-than", "old").output
