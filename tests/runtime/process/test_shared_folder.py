"""The folder for the shared memory of ranks' libraries goes, whoever is killed and whenever."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import deeprc as rc
from deeprc.runtime.process import shared_folder
from deeprc.spec.imports import imports
from tests.runtime import faults

_WAITS = """
import os, time
from pathlib import Path
Path({place!r}).write_text(str(os.getpid()))
time.sleep(600)
"""


def nothing() -> None:
    """A task."""


def folders(agent: psutil.Process) -> list[Path]:
    return list(Path("/dev/shm").glob(f"deeprc-mpi-{agent.pid}-*"))


def importing(session: rc.Session, tmp_path: Path) -> psutil.Process:
    """A zygote of the session that is at an import that takes forever."""
    place = tmp_path / "importing"
    (tmp_path / "waits_when_imported.py").write_text(_WAITS.format(place=str(place)))
    session.submit(imports("waits_when_imported")(nothing))
    del nothing.__deeprc_imports__  # type: ignore[attr-defined]
    assert faults.wait_until(lambda: place.exists() and place.read_text(), timeout_s=60)
    return psutil.Process(int(place.read_text()))


def test_nothing_is_left_by_an_agent_that_is_killed_while_a_zygote_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 of the agent before any rank is forked: the zygote goes, and so does its folder."""
    monkeypatch.syspath_prepend(tmp_path)
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        zygote, agent = importing(session, tmp_path), faults.agent_of(session)
        assert folders(agent)
        agent.kill()
        assert faults.wait_until(lambda: not faults.alive(zygote.pid))
        assert faults.wait_until(lambda: folders(agent) == [])


def test_a_zygote_whose_agent_has_died_makes_nothing(tmp_path: Path) -> None:
    """It was killed before the zygote asked the kernel to tell of that, but after it had sent its settings."""
    folder = shared_folder.new_name()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(json.dumps({"path": sys.path, "modules": ["no_module_is_imported"], "run_directory": "."}).encode())
    ours.close()
    command = [sys.executable, "-m", "deeprc.runtime.rank.zygote", str(theirs.fileno()), "0", str(folder)]
    subprocess.run(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, timeout=60, check=True)
    theirs.close()
    assert not folder.exists()


def test_what_is_left_when_all_are_killed_is_removed_by_the_next_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agent and zygote killed together, as with a job's control group: no later session of the user finds it."""
    monkeypatch.syspath_prepend(tmp_path)
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        zygote, agent = importing(session, tmp_path), faults.agent_of(session)
        for process in (zygote, agent):
            process.send_signal(signal.SIGSTOP)
        for process in (zygote, agent):
            process.kill()
        assert faults.wait_until(lambda: not faults.alive(zygote.pid))
        assert folders(agent)
    with rc.Session(cores=2, run_dir=tmp_path / "next") as session:
        assert session.submit(nothing).result(timeout=60) is None
        assert folders(agent) == []


def test_a_folder_is_kept_while_a_process_forked_from_its_maker_lives() -> None:
    """Ranks outlive a killed zygote by a moment; what names the maker's pid may be another process by now."""
    folder = shared_folder.new_name()
    descriptor = shared_folder.hold(folder)
    child = os.fork()
    if child == 0:
        signal.pause()
    os.close(descriptor)
    shared_folder.remove_abandoned()
    assert folder.exists()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    shared_folder.remove_abandoned()
    assert not folder.exists()


def test_a_folder_of_another_user_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names can be seen in the list of processes before the folder is made."""
    folder = shared_folder.new_name()
    folder.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="another user"):
        shared_folder.hold(folder)
    monkeypatch.undo()
    shared_folder.remove(folder)
