"""What a task may do to its node: memory, output and processes without end all have one."""

from __future__ import annotations

import mmap
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import deeprc as rc
from deeprc.errors import MemoryExceededError, RankDiedError, TaskTimeoutError
from deeprc.journal import read_run
from deeprc.runtime.agent import rank_log
from deeprc.runtime.agent.rank_log import LOG_LIMIT_BYTES, bound_log
from tests.runtime import faults

MIB = 1 << 20


def allocate_forever(pause_s: float = 0.005) -> None:
    """Take memory, touch it, and ask for more."""
    print("allocating", flush=True)
    held = []
    while True:
        held.append(bytearray(os.urandom(4096)) * 4096)
        time.sleep(pause_s)


def allocate_in_a_child() -> None:
    """As `allocate_forever`, in a process that the task starts."""
    command = "x = []\nwhile True: x.append(b'x' * (1 << 24)); import time; time.sleep(0.005)"
    subprocess.run([sys.executable, "-c", command], check=False)


def share_forever(comm: rc.Communicator, rank: int) -> None:
    """Take shared memory on one rank while the others wait."""
    held = []
    while comm.rank == rank:
        held.append(mmap.mmap(-1, 16 * MIB))
        held[-1].write(bytes(16 * MIB))
        time.sleep(0.005)
    comm.barrier()


def map_and_read(path: str, times: int) -> int:
    """Read a mapped file: its pages are the page cache's."""
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        total = 0
        for _ in range(times):
            total += sum(mapped[start] for start in range(0, len(mapped), 4096))
            time.sleep(0.3)
        return total


def hold(size: int, seconds: float) -> int:
    held = bytearray(b"x") * size
    time.sleep(seconds)
    return len(held)


@pytest.mark.parametrize("task", [allocate_forever, allocate_in_a_child])
def test_endless_allocation_ends_at_the_tasks_memory(session: rc.Session, task: Any) -> None:
    """The error has rank, peak, limit and output; it is not tried again; other tasks go on."""
    bystander = session.submit(hold, 300 * MIB, 2)
    with pytest.raises(MemoryExceededError, match=r"rank 0 on localhost: held .* GiB, more than .* 0.25 GiB") as caught:
        session.submit(task, memory="256MiB", retries=3).result(timeout=60)
    assert caught.value.limit_bytes == 256 * MIB < caught.value.peak_bytes
    assert caught.value.output == ("allocating" if task is allocate_forever else "")
    assert bystander.result(timeout=60) == 300 * MIB
    failures = list(read_run(session.run_directory).of_kind("task.failed"))
    assert [failure["error"] for failure in failures] == ["MemoryExceededError"]


def test_shared_memory_counts_and_the_right_rank_is_blamed(session: rc.Session) -> None:
    """Of two ranks the one that took too much; both are ended."""
    with pytest.raises(MemoryExceededError, match="rank 1 on localhost"):
        session.submit(share_forever, 1, ranks=2, comm="mpi", memory="256MiB").result(timeout=60)


def test_mapped_files_are_not_counted(session: rc.Session, tmp_path: Path) -> None:
    """A dataset larger than the task's memory can be read by mapping it."""
    path = tmp_path / "data"
    path.write_bytes(b"\1" * (400 * MIB))
    assert session.submit(map_and_read, str(path), 3, memory="128MiB").result(timeout=60) == 3 * 400 * 256


def test_mapped_datasets_on_tmpfs_are_not_counted_either(session: rc.Session) -> None:
    """Where datasets lie in shared memory, the kernel counts their pages as the reader's; we do not."""
    tmpfs = Path("/dev/shm") / f"deeprc-test-{os.getpid()}"
    link = session.run_directory / "datasets"
    link.rmdir()
    tmpfs.mkdir()
    try:
        with faults.bound(tmpfs, link):
            (link / "data").write_bytes(b"\1" * (400 * MIB))
            result = session.submit(map_and_read, str(link / "data"), 3, memory="128MiB").result(timeout=60)
    finally:
        (tmpfs / "data").unlink(missing_ok=True)
        tmpfs.rmdir()
    assert result == 3 * 400 * 256


def test_the_peak_is_in_the_journal(session: rc.Session) -> None:
    """Of a task long enough to be looked at, its most; of any other, what it held at its end."""
    session.submit(hold, 300 * MIB, 3.0, name="large").result(timeout=60)
    session.submit(hold, 1, 0, name="small", isolated=True).result(timeout=60)
    session.submit(hold, 1, 0, name="after-large").result(timeout=60)
    finished = read_run(session.run_directory).of_kind("task.finished")
    peaks = {event["task"]: event["peak_memory_bytes"] for event in finished}
    assert 300 * MIB < peaks["large"] < 600 * MIB
    assert MIB < peaks["small"] < 200 * MIB
    assert MIB < peaks["after-large"] < 200 * MIB


def test_the_kernels_out_of_memory_killer_is_named(tmp_path: Path) -> None:
    """A kill for want of memory says so, and what the rank held."""
    with faults.memory_cgroup(200 * MIB) as enter, rc.Session(cores=2, run_dir=tmp_path / "run") as session:

        def take(enter: str) -> None:
            Path(enter).write_text(str(os.getpid()))
            allocate_forever(pause_s=0.5)

        with pytest.raises(RankDiedError, match=r"SIGKILL; it held 0.\d\d GiB.*out-of-memory killer") as caught:
            session.submit(take, enter).result(timeout=60)
        assert caught.value.signal == "SIGKILL"
        assert session.submit(hold, 1, 0).result(timeout=60) == 1


def test_ranks_go_before_driver_and_agent(session: rc.Session) -> None:
    """When the node is out of memory, the kernel is told whom to take."""

    def score() -> int:
        return int(Path("/proc/self/oom_score_adj").read_text())

    assert session.submit(score).result(timeout=60) == 500
    family = psutil.Process().children(recursive=True)
    ours = [int(Path(f"/proc/{process.pid}/oom_score_adj").read_text()) for process in family]
    assert min(ours) < 500


def print_much(size: int) -> str:
    """Write `size` bytes in lines, then a last one."""
    line = b"x" * 1023 + b"\n"
    for _ in range(size // (1024 * 1024)):
        os.write(1, line * 1024)
    os.write(1, b"the last line\n")
    # Its agent looks at the log some times a second.
    while os.fstat(1).st_size >= LOG_LIMIT_BYTES:
        time.sleep(0.05)
    return "done"


def print_and_die(size: int) -> None:
    print_much(size)
    os._exit(3)


@pytest.mark.parametrize("size", [200 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.slow)])
def test_output_without_end_is_bounded(session: rc.Session, size: int) -> None:
    """The log is cut to its last lines, with a note and a warning; the end of the output is in the error."""
    assert session.submit(print_much, size).result(timeout=120) == "done"
    logs = list((session.run_directory / "logs").glob("rank-*.log"))
    assert sum(log.stat().st_size for log in logs) < LOG_LIMIT_BYTES
    assert any(b"bytes of output left out here" in log.read_bytes() for log in logs)
    assert any("was cut" in event["message"] for event in read_run(session.run_directory).of_kind("warning"))
    with pytest.raises(RankDiedError, match="exited with code 3") as caught:
        session.submit(print_and_die, size).result(timeout=120)
    assert caught.value.output.endswith("the last line")


@pytest.mark.parametrize("by", ["whatever can", "writing again"])
def test_a_log_is_cut_only_past_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """Its last part is kept; what is written afterwards follows it: also where the file system cannot cut."""
    if by == "writing again":
        monkeypatch.setattr(rank_log, "_start_taken_out", lambda *_: False)
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a" * MIB + b"b" * MIB)
        assert not bound_log(log, 2 * MIB)
        writer.write(b"c")
        assert bound_log(log, 2 * MIB)
        writer.write(b"d")
    note, _, kept = log.read_bytes().partition(b"\n")
    assert re.fullmatch(rb"\[\d+ bytes of output left out here: a log keeps 2097152\]", note)
    assert kept.endswith(b"bcd") and set(kept[:-2]) == {ord("b")}
    assert MIB - 100 < len(kept) <= MIB + 1
    assert not bound_log(tmp_path / "absent", 1)


def leave_child(path: str, how: str) -> int:
    """Leave a process behind: a plain child, one in a session of its own, or a daemon forked twice."""
    command = f"import os, time; open({path!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    if how == "daemon":
        command = f"import os\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    {command}"
    child = subprocess.Popen([sys.executable, "-c", command], start_new_session=how != "child")
    if how == "daemon":
        child.wait()
    while not Path(path).exists() or not Path(path).read_text():
        time.sleep(0.01)
    return os.getpid()


def leave_child_and_die(path: str, how: str) -> None:
    leave_child(path, how)
    os._exit(1)


@pytest.mark.parametrize("how", ["child", "session", "daemon"])
def test_what_a_task_leaves_behind_ends_with_it(session: rc.Session, tmp_path: Path, how: str) -> None:
    """Whether its function returns or its rank dies, and wherever the child hides; such a rank serves no other task."""
    first = session.submit(leave_child, str(tmp_path / "one"), how).result(timeout=60)
    left = int((tmp_path / "one").read_text())
    assert faults.wait_until(lambda: not faults.alive(left))
    assert session.submit(os.getpid).result(timeout=60) != first
    with pytest.raises(RankDiedError):
        session.submit(leave_child_and_die, str(tmp_path / "two"), how).result(timeout=60)
    left = int((tmp_path / "two").read_text())
    assert faults.wait_until(lambda: not faults.alive(left))
    reasons = [event["reason"] for event in read_run(session.run_directory).of_kind("rank.ended")]
    assert "its task left processes behind" in reasons


@pytest.mark.parametrize("how", ["child", "session", "daemon"])
def test_a_killed_agent_leaves_no_child_of_a_task(tmp_path: Path, how: str) -> None:
    """Its zygotes end what the ranks had started, before they go."""

    def leave_child_and_wait(path: str, how: str) -> None:
        leave_child(path, how)
        time.sleep(600)

    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        future = session.submit(leave_child_and_wait, str(tmp_path / "child"), how)
        assert faults.wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
        faults.agent_of(session).kill()
        with pytest.raises(rc.DeepRCError, match="lost"):
            future.result(timeout=60)
    left = int((tmp_path / "child").read_text())
    assert faults.wait_until(lambda: not faults.alive(left))


@pytest.mark.slow
def test_a_timeout_ends_children_too(session: rc.Session, tmp_path: Path) -> None:
    """A task that waits for its child for ever."""

    def wait_for_child(path: str) -> None:
        leave_child(path, "session")
        time.sleep(600)

    with pytest.raises(TaskTimeoutError):
        session.submit(wait_for_child, str(tmp_path / "child"), timeout=8).result(timeout=60)
    left = int((tmp_path / "child").read_text())
    assert faults.wait_until(lambda: not faults.alive(left))
