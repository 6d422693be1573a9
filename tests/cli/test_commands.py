from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from deeprc.cli.main import app

STEPS = """\
import time
import deeprc as rc

def ranks(comm: rc.Communicator) -> list:
    return comm.all_gather(comm.rank)

def fit(data, model):
    if model == "bad":
        raise ValueError("this model diverged")
    return f"{model} of {data}"

def choose(fits):
    return fits[-1]

def sleep(seconds):
    time.sleep(seconds)
"""
PIPELINE = """\
params: {models: [a, b]}
tasks:
  data:
    run: cli_steps.py:ranks
    ranks: 2
    comm: mpi
  fit-${model}:
    for: {model: "${models}"}
    run: cli_steps.py:fit
    args: [{task: data}]
    with: {model: "${model}"}
  best:
    run: cli_steps.py:choose
    args: [{tasks: fit-*}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a pipeline, whose runs go to a folder of their own."""
    (tmp_path / "cli_steps.py").write_text(STEPS)
    (tmp_path / "demo.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPRC_RUNS", str(tmp_path / "runs"))
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path


def deeprc(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_run_that_succeeds_ends_with_0_and_leaves_a_report(folder: Path) -> None:
    """All tasks are told; report and summary are written; history and report then know the run."""
    result = deeprc("run", "demo.yaml", "--cores", 2, "--out", "out")
    assert result.exit_code == 0, result.output
    assert "fit-b: succeeded" in result.output
    assert "b of [0, 1]" in result.output
    summary = json.loads((folder / "out/summary.json").read_text())
    assert summary["name"] == "demo"
    assert {task["status"] for task in summary["tasks"].values()} == {"succeeded"}
    assert "<html" in (folder / "out/report.html").read_text().lower()

    (row,) = json.loads(deeprc("history", "--json").output)
    assert (row["name"], row["status"], row["succeeded"]) == ("demo", "succeeded", 4)
    assert row["run"] in deeprc("history").output
    for name in ("last", row["run"], row["run"][:11], folder / "runs" / row["run"]):
        page = folder / "page.html"
        assert deeprc("report", name, "--out", page).output.strip() == str(page)
        page.unlink()


def test_a_run_with_a_failed_task_ends_with_1_and_shows_why(folder: Path) -> None:
    """The rest of the run goes on; the user's own error is shown; the report is written all the same."""
    result = deeprc("run", "demo.yaml", "--set", "models=[a, bad]", "--run-dir", "kept")
    assert result.exit_code == 1
    assert "fit-a: succeeded" in result.output
    assert "ValueError: this model diverged" in result.output
    assert "best: cancelled" in result.output
    assert (folder / "kept/report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "absent.yaml"], "absent.yaml: can't be read"),
        (["run", "demo.yaml", "--set", "model=[a]"], "Did you mean 'models'?"),
        (["run", "demo.yaml", "--set", "models"], "--set takes name=value, got 'models'"),
        (["run", "demo.yaml", "--set", "models=["], "bad YAML"),
        (["run", "demo.yaml", "--on", "nowhere"], "no pilot 'nowhere'. Valid pilots: local"),
        (["run", "demo.yaml", "--cores", "1"], "asks for 2 cores"),
        (["run", "demo.yaml", "--on", "radical:ncsa.delta", "--sbatch-option", "x=1"], "has no option 'x'"),
        (["run", "wrong.yaml"], "wrong.yaml:3: task 'a': no function 'fti' in"),
    ],
)
def test_what_is_refused_ends_with_2_and_leaves_nothing(folder: Path, arguments: list[str], message: str) -> None:
    """The error says what and where; no run was started; no traceback is shown."""
    (folder / "wrong.yaml").write_text("tasks:\n  a:\n    run: cli_steps.py:fti\n")
    result = deeprc(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (folder / "runs").exists()


def test_a_run_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    """report names the runs one could have meant."""
    result = deeprc("report", "last")
    assert (result.exit_code, "no runs in" in result.output) == (1, True)
    for name in ("20260101-000000-aaaaaa", "20260101-000000-bbbbbb"):
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "events.jsonl").touch()
    assert "2 runs start with '2026'" in deeprc("report", "2026").output
    assert "bbbbbb" in deeprc("report", "nothing").output


def test_a_traceback_is_for_those_who_ask(folder: Path) -> None:
    """With --debug the error is raised as it is."""
    result = deeprc("--debug", "run", "absent.yaml")
    assert type(result.exception).__name__ == "SpecError"


def test_a_run_goes_on_when_nobody_reads_its_output(folder: Path) -> None:
    """`deeprc run ... | head` ends as the run does: a closed pipe stops the printing only."""
    command = [sys.executable, "-m", "deeprc.cli.main", "run", "demo.yaml", "--run-dir", "kept"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=90) == 0, process.stderr
    assert json.loads((folder / "kept/summary.json").read_text())["status"] == "succeeded"


def still_runs(pid: int) -> bool:
    """Whether a process does; one that has ended and waits to be collected does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_ends_with_130_and_no_process_left(folder: Path) -> None:
    """The session ends its ranks; the run is kept as interrupted."""
    (folder / "slow.yaml").write_text("tasks: {a: {run: 'cli_steps.py:sleep', args: [600]}}")
    command = [sys.executable, "-m", "deeprc.cli.main", "run", "slow.yaml", "--run-dir", "kept"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        events = folder / "kept/events.jsonl"
        while process.poll() is None and not (events.exists() and "task.started" in events.read_text()):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert error.strip() == "Interrupted."
    kinds = [json.loads(line) for line in events.read_text().splitlines()]
    assert kinds[-1]["status"] == "interrupted"
    pids = [event["pid"] for event in kinds if event["kind"] == "rank.started"]
    assert pids
    assert not any(still_runs(pid) for pid in pids), output


def test_the_version_is_the_package_s() -> None:
    """--version says it."""
    import deeprc as package

    assert deeprc("--version").output == f"deeprc {package.__version__}\n"


TRAINING = ["torch", "tensorflow", "keras", "neuralforecast", "pandas"]
HEAVY = [*TRAINING, "mpi4py", "ray", "pyarrow.dataset", "polars"]


@pytest.mark.parametrize("code", ["import deeprc", "import deeprc.cli.main", "import deeprc.spec"])
def test_what_everybody_imports_stays_light(code: str) -> None:
    """Neither `import deeprc` nor the command line loads a library that only some tasks use."""
    check = f"import sys; {code}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["doctor", "--json"], ["--version"]])
def test_commands_that_only_tell_stay_light(arguments: list[str], folder: Path) -> None:
    """Help and doctor load nothing heavy either."""
    check = (
        f"import sys\nfrom deeprc.cli.main import app\ntry: app({arguments!r})\nexcept SystemExit: pass\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"


def test_a_locale_without_the_letters_ends_nothing(folder: Path) -> None:
    """Under an ASCII locale a task prints umlauts, and another's error in Greek is told: no traceback of ours."""
    (folder / "cli_steps.py").write_text(
        "def speak() -> str:\n    print('Grüße')\n    return 'Σ'\n\n\ndef fail(x):\n    raise ValueError('ΔΣ')\n"
    )
    (folder / "letters.yaml").write_text(
        "tasks:\n  speak: {run: 'cli_steps.py:speak'}\n  fail: {run: 'cli_steps.py:fail', args: [{task: speak}]}\n"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "deeprc.cli.main", "run", "letters.yaml", "--cores", "1"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **ascii_only}, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert b"speak  succeeded" in done.stdout
    assert b"ValueError: ??" in done.stdout
    assert done.stderr == b""
    (log,) = (folder / "runs").glob("*/logs/rank-*.log")
    assert "Grüße" in log.read_text(encoding="utf-8")


def test_places_that_cannot_be_written_are_told_before_any_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for runs, or for results, that cannot be made is named; no traceback, no task run in vain."""
    (folder / "file").write_text("")
    result = deeprc("run", "demo.yaml", "--out", folder / "file" / "out")
    assert (result.exit_code, "started" in result.output) == (2, False)
    assert "--out" in result.output
    monkeypatch.setenv("DEEPRC_RUNS", str(folder / "file" / "runs"))
    result = deeprc("run", "demo.yaml")
    assert result.exit_code == 1
    assert "no run can be kept there: Not a directory. Set $DEEPRC_RUNS" in " ".join(result.output.split())
