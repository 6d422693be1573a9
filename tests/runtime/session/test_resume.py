"""A run that was cut off is taken up again: what is done is not done twice, what has changed is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

import deeprc as rc
from deeprc.errors import JournalError
from deeprc.journal import read_run
from deeprc.runtime.session.code_digest import code_digest, digest_of
from deeprc.spec.imports import reads, writes
from tests.runtime import faults

_STEPS = """
    import time
    from pathlib import Path
    import polars as pl
    import deeprc as rc

    FACTOR = 2

    def note(diary: str, name: str) -> None:
        with open(diary, "a") as file:
            file.write(name + "\\n")

    def load(comm: rc.Communicator, source: str, diary: str) -> rc.Dataset:
        note(diary, "load")
        values = [int(line) for line in Path(source).read_text().split()]
        return rc.Dataset.from_polars(pl.DataFrame({"x": values}), name="loaded", comm=comm)

    def total(data: rc.Dataset, diary: str, offset: int = 0) -> int:
        note(diary, "total")
        return int(data.to_polars()["x"].sum()) * FACTOR + offset

    def other(source: str, diary: str) -> str:
        note(diary, "other")
        return Path(source).read_text()

    def last(first: int, second: str, diary: str, wait: str) -> str:
        note(diary, "last")
        while Path(wait).exists():
            time.sleep(0.05)
        return f"{first} {second}"
"""
# ${offset} is YAML's own: it is set from the command line.
_PIPELINE = """
    name: resumable
    session: {cores: 2}
    params: {offset: 0}
    tasks:
      load: {run: "steps.py:load", with: {source: one.txt, diary: diary}, ranks: 2, comm: gloo}
      total: {run: "steps.py:total", with: {data: {task: load}, diary: diary, offset: "${offset}"}}
      other: {run: "steps.py:other", with: {source: two.txt, diary: diary}}
      last:
        run: "steps.py:last"
        with: {first: {task: total}, second: {task: other}, diary: diary, wait: wait}
"""


class Project:
    """A folder with a pipeline, and the command that runs it there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("steps.py", _STEPS)
        self.write("p.yaml", _PIPELINE)
        self.write("one.txt", "1 2 3")
        self.write("two.txt", "two")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(textwrap.dedent(text))

    def start(self, *options: str) -> subprocess.Popen[str]:
        (self.folder / "diary").unlink(missing_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "deeprc.cli.main", "run", *options],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *options: str) -> list[str]:
        """Run to the end; return the names of the tasks whose functions ran."""
        with self.start(*options) as process:
            output = process.communicate(timeout=100)[0]
        assert process.returncode == 0, output
        return self.ran()

    def ran(self) -> list[str]:
        diary = self.folder / "diary"
        return sorted(set(diary.read_text().split())) if diary.exists() else []


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def kept(run: Path) -> int:
    return len(list((run / "results").glob("*.kept")))


def test_a_killed_run_is_resumed(project: Project) -> None:
    """kill -9 in mid-run, then `--resume` without the file: finished tasks are reused, the rest runs, all is right."""
    (project.folder / "wait").touch()
    driver = project.start("p.yaml", "--run-dir", "first")
    first = project.folder / "first"
    try:
        assert faults.wait_until(lambda: "last" in project.ran() and kept(first) == 3, timeout_s=90)
    finally:
        driver.kill()
        driver.communicate(timeout=60)
    (project.folder / "wait").unlink()
    assert project.run("--resume", "first", "--run-dir", "second") == ["last"]
    second = read_run(project.folder / "second")
    assert {event["task"] for event in second.of_kind("task.reused")} == {"load", "total", "other"}
    assert second.first("run.started")["resumes"] == str(first)  # type: ignore[index]
    finished = {event["task"]: event["result"] for event in second.of_kind("task.finished")}
    assert finished == {"last": "24 two"}
    assert second.events[-1]["status"] == "succeeded"
    assert project.run("p.yaml", "--resume", "second", "--run-dir", "third") == []
    assert read_run(first).events[-1]["kind"] != "run.finished"


def change_nothing_that_counts(project: Project) -> list[str]:
    source = (project.folder / "steps.py").read_text()
    project.write("steps.py", "# a comment\n\n" + source.replace("def unused", "def unused2"))
    return []


def change_a_function(project: Project) -> list[str]:
    text = (project.folder / "steps.py").read_text()
    project.write("steps.py", text.replace("    return Path(source).read_text()", "    return Path(source).name"))
    return ["last", "other"]


def change_a_constant_that_it_uses(project: Project) -> list[str]:
    project.write("steps.py", (project.folder / "steps.py").read_text().replace("FACTOR = 2", "FACTOR = 3"))
    return ["last", "total"]


def change_a_function_that_all_call(project: Project) -> list[str]:
    source = (project.folder / "steps.py").read_text()
    project.write("steps.py", source.replace('name + "\\n"', 'name + " \\n"'))
    return ["last", "load", "other", "total"]


def change_an_input(project: Project) -> list[str]:
    project.write("one.txt", "1 2 4")
    return ["last", "load", "total"]


def change_the_ranks(project: Project) -> list[str]:
    project.write("p.yaml", _PIPELINE.replace("ranks: 2, comm: gloo", "ranks: 1, comm: gloo"))
    return ["last", "load", "total"]


def damage_a_result(project: Project) -> list[str]:
    """As a kill in the midst of writing would, were it not renamed."""
    for path in (project.folder / "first" / "results").glob("*.kept"):
        if b'"other"' in path.read_bytes():
            path.write_bytes(path.read_bytes()[:-1])
    return ["last", "other"]


def lose_a_dataset(project: Project) -> list[str]:
    next((project.folder / "first" / "datasets").glob("*.arrow")).unlink()
    return ["last", "load", "total"]


def cut_the_journal(project: Project) -> list[str]:
    journal = project.folder / "first" / "events.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    return []


@pytest.mark.parametrize(
    "change",
    [
        change_nothing_that_counts,
        change_a_function,
        change_a_constant_that_it_uses,
        change_a_function_that_all_call,
        change_an_input,
        change_the_ranks,
        damage_a_result,
        lose_a_dataset,
        cut_the_journal,
    ],
)
def test_what_has_changed_runs_again_and_nothing_else(project: Project, change: Any) -> None:
    """The task itself and what depends on it; the journal says why."""
    project.run("p.yaml", "--run-dir", "first")
    expected = change(project)
    assert project.run("p.yaml", "--resume", "first", "--run-dir", "second") == expected
    second = read_run(project.folder / "second")
    assert {event["task"] for event in second.of_kind("task.reused")} == {"load", "total", "other", "last"} - {
        *expected
    }
    told = {event["task"] for event in second.of_kind("warning") if "runs again" in event["message"]}
    assert told == set(expected)


def test_a_changed_argument_runs_again(project: Project) -> None:
    """Given by --set; what does not depend on it is reused."""
    project.run("p.yaml", "--run-dir", "first")
    assert project.run("p.yaml", "--set", "offset=1", "--resume", "first", "--run-dir", "second") == ["last", "total"]


def noted(diary: str, value: int) -> int:
    with Path(diary).open("a") as file:
        file.write(f"{value}\n")
    return 10 * value


def large(size: int) -> bytes:
    return b"x" * size


def test_a_session_resumes_another(tmp_path: Path) -> None:
    """From Python: `keep_results`, then `resume`; large results, kept in files, too."""
    diary = str(tmp_path / "diary.log")
    with rc.Session(cores=2, run_dir=tmp_path / "one", keep_results=True) as session:
        assert session.submit(noted, diary, 1, name="a").result(timeout=60) == 10
        assert len(session.submit(large, 3 << 20, name="large").result(timeout=60)) == 3 << 20
    before = Path(diary).read_text()
    with rc.Session(cores=2, run_dir=tmp_path / "two", resume=tmp_path / "one") as session:
        again = session.submit(noted, diary, 1, name="a")
        assert session.submit(noted, diary, again, name="b").result(timeout=60) == 100
        assert len(session.submit(large, 3 << 20, name="large").result(timeout=60)) == 3 << 20
    assert Path(diary).read_text() == before + "1\n10\n"
    reused = [event["task"] for event in read_run(tmp_path / "two").of_kind("task.reused")]
    assert reused == ["large"]


@writes("path")
def written(number: int, *, path: str) -> int:
    Path(path).write_text(f"{time.monotonic_ns()}")
    return number


def test_a_file_that_a_task_writes_is_no_input_of_it(tmp_path: Path) -> None:
    """Its content may change between the runs; if it is gone, the task that wrote it runs again."""
    path = tmp_path / "out.txt"
    for number, wrote in ((1, True), (2, False), (3, True)):
        if number == 3:
            path.unlink()
        earlier = {"resume": tmp_path / f"{number - 1}"} if number > 1 else {}
        before = path.read_text() if path.exists() else ""
        with rc.Session(cores=1, run_dir=tmp_path / f"{number}", keep_results=True, **earlier) as session:  # type: ignore[arg-type]
            assert session.submit(written, 7, path=str(path)).result(timeout=60) == 7
        assert (path.read_text() != before) == wrote, number
    assert "which it wrote, is gone" in str([*read_run(tmp_path / "3").of_kind("warning")])


@reads("files")
def counted(files: str) -> int:
    """How many rows a folder's files, or those of a pattern, have."""
    paths = Path(files).iterdir() if Path(files).is_dir() else Path(files).parent.glob(Path(files).name)
    return sum(len(path.read_text().splitlines()) for path in paths)


def add_a_file(folder: Path) -> str:
    (folder / "b.csv").write_text("2\n3\n")
    return "b.csv is new"


def change_a_file(folder: Path) -> str:
    (folder / "a.csv").write_text("1\n2\n")
    return "a.csv has changed"


def lose_a_file(folder: Path) -> str:
    (folder / "c.csv").unlink()
    return "c.csv is gone"


@pytest.mark.parametrize("named", ["gauges", "gauges/*.csv"])
@pytest.mark.parametrize("change", [add_a_file, change_a_file, lose_a_file])
def test_files_of_a_folder_or_a_pattern_are_inputs(tmp_path: Path, named: str, change: Any) -> None:
    """One that is new, another, or gone makes the task run again, and is named; nothing else does."""
    folder = tmp_path / "gauges"
    folder.mkdir()
    for name in ("a.csv", "c.csv"):
        (folder / name).write_text("1\n")
    counts, told = [], ""
    for number in (1, 2, 3):
        earlier = {"resume": tmp_path / f"{number - 1}"} if number > 1 else {}
        told = change(folder) if number == 3 else ""
        with rc.Session(cores=1, run_dir=tmp_path / f"{number}", keep_results=True, **earlier) as session:  # type: ignore[arg-type]
            counts.append(session.submit(counted, str(tmp_path / named), name="counts").result(timeout=60))
    assert [len([*read_run(tmp_path / f"{number}").of_kind("task.reused")]) for number in (1, 2, 3)] == [0, 1, 0]
    assert counts[0] == counts[1] != counts[2]
    assert told in str([*read_run(tmp_path / "3").of_kind("warning")])


def test_resuming_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """Before anything starts."""
    with pytest.raises(JournalError, match="not a run directory"):
        rc.Session(cores=1, run_dir=tmp_path / "new", resume=tmp_path)
    assert not (tmp_path / "new").exists()


def test_digests_are_equal_in_another_process() -> None:
    """Whatever the seed of hashes: else nothing could ever be reused."""
    code = textwrap.dedent("""
        from tests.runtime.session.test_resume import digests
        print(*digests())
    """)
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def digests() -> list[str]:
    """Of functions and of values, sets and nested functions among them."""
    import numpy as np

    from deeprc.workloads.demo import pipeline

    values = [{"b": {"x", "y", "z"}, "a": (1, 2.0, None)}, np.arange(5), Path("a"), frozenset("abc")]
    functions = [noted, digests, faults.wait_until, *pipeline().functions().values()]
    return [*map(digest_of, values), *map(code_digest, functions)]


def test_a_driver_interrupted_can_be_resumed(project: Project) -> None:
    """After Ctrl-C as after a kill."""
    (project.folder / "wait").touch()
    with project.start("p.yaml", "--run-dir", "first") as driver:
        try:
            assert faults.wait_until(lambda: "last" in project.ran(), timeout_s=90)
            time.sleep(0.2)
            driver.send_signal(signal.SIGINT)
            assert driver.wait(timeout=60) == 130
        finally:
            driver.kill()
    (project.folder / "wait").unlink()
    assert project.run("--resume", "first", "--run-dir", "second") == ["last"]
