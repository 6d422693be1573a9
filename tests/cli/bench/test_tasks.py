"""The benchmark of small tasks measures what is there, and says of the rest how to get it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deeprc.cli.bench import tasks as bench_tasks
from deeprc.cli.bench.environments import interpreter_with
from deeprc.pilots.leftovers import processes_in


def test_a_system_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The script needs nothing of Deep RC, and writes rates and the median round trip."""
    script = Path(bench_tasks.__file__).with_name("systems") / "small_tasks.py"
    out = tmp_path / "out.json"
    command = [sys.executable, "-I", str(script), "processpool", "1", "50", "5", str(out)]
    subprocess.run(command, check=True, timeout=60, cwd=tmp_path)
    measured = json.loads(out.read_text())
    assert len(measured["tasks_per_second"]) == 3
    assert measured["round_trip_ms"] > 0


def test_an_environment_of_its_own_comes_before_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it ours is taken if it has the package, and else the system is not measured."""
    monkeypatch.setenv("DEEPRC_BENCH_ENVIRONMENTS", str(tmp_path))
    assert interpreter_with("json", "thing") == Path(sys.executable)
    assert interpreter_with("no_such_package", "thing") is None
    python = tmp_path / ".venv-bench-thing" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert interpreter_with("json", "thing") == python


def test_a_system_that_fails_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """And one that hangs with the time it was given."""
    with pytest.raises(RuntimeError, match=r"exit code 1: .*KeyError"):
        bench_tasks._run(Path(sys.executable), "small_tasks.py", ["nosuch", "1", "1", "1"], tmp_path, 120.0)
    with pytest.raises(RuntimeError, match="no result within 1 s"):
        bench_tasks._run(Path(sys.executable), "small_tasks.py", ["processpool", "1", "9999999", "1"], tmp_path, 1.0)


def test_what_a_system_leaves_running_is_ended(tmp_path: Path) -> None:
    """A script that takes too long goes, and so does a daemon that it has started in a session of its own."""
    script = tmp_path / "slow.py"
    script.write_text(
        "import subprocess, time\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\ntime.sleep(600)\n"
    )
    folder = tmp_path / "work"
    folder.mkdir()
    with pytest.raises(RuntimeError, match="no result within 2 s"):
        bench_tasks._run(Path(sys.executable), str(script), [], folder, 2.0)
    assert processes_in(folder) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_raptor_is_measured(tmp_path: Path) -> None:
    """Its worker of MPI ranks finds the mpiexec beside the interpreter, and no process of it is left."""
    pytest.importorskip("radical.pilot")
    measured = bench_tasks._run(Path(sys.executable), "small_tasks.py", ["raptor", "1", "20", "3"], tmp_path, 240.0)
    assert min(measured["tasks_per_second"]) > 0
    assert processes_in(tmp_path) == []
