"""Zygotes import and fork; where forking would hang, ranks are started plainly, with a warning."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import deeprc as rc
from deeprc.errors import RankDiedError
from deeprc.journal import read_run
from deeprc.spec.imports import imports
from tests.runtime import faults

UNSAFE = """
import threading
_lock = threading.Lock()
_lock.acquire()
import os
os.register_at_fork(after_in_child=_lock.acquire)
"""


def parent_command() -> str:
    return Path(f"/proc/{os.getppid()}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def torch_is_loaded() -> bool:
    return "torch" in sys.modules


def world(comm: rc.Communicator) -> list[int]:
    return comm.all_gather(comm.rank)


def test_ranks_are_forked_with_their_imports_done(session: rc.Session) -> None:
    """A function that declares a module finds it loaded; one that does not has nothing to pay for it."""
    declared = imports("torch")(torch_is_loaded)
    assert session.submit(declared).result(timeout=90) is True
    del torch_is_loaded.__deeprc_imports__  # type: ignore[attr-defined]
    assert session.submit(torch_is_loaded).result(timeout=90) is False


def test_what_a_zygote_cannot_import_is_a_warning(session: rc.Session) -> None:
    """The task decides whether it matters."""
    assert session.submit(imports("no_such_module")(lambda: 5)).result(timeout=60) == 5
    [started] = read_run(session.run_directory).of_kind("zygote.started")
    assert "no_such_module" in started["warning"]


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_an_unsafe_zygote_falls_back_to_plain_starts(
    session: rc.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comm: Any
) -> None:
    """A module whose forked children hang: the check finds it, the journal says why, tasks run all the same."""
    (tmp_path / "hangs_when_forked.py").write_text(UNSAFE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DEEPRC_FORK_CHECK_TIMEOUT_S", "1")
    with rc.Session(cores=2, run_dir=tmp_path / "second") as fresh:
        function = imports("hangs_when_forked")(world)
        assert fresh.submit(function, ranks=2, comm=comm).result(timeout=120) == [0, 1]
        with pytest.raises(rc.DeepRCError, match="exited with code 3"):
            fresh.submit(imports("hangs_when_forked")(lambda: os._exit(3))).result(timeout=60)
    del world.__deeprc_imports__  # type: ignore[attr-defined]
    warnings = [event["warning"] for event in read_run(tmp_path / "second").of_kind("zygote.started")]
    assert any("hung in its check" in warning and "plainly" in warning for warning in warnings)


def test_mpi_ranks_can_be_started_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the library's own mpiexec; they stay warm, their death is told, and nothing is left."""
    monkeypatch.setenv("DEEPRC_MPI_START", "plain")
    # Its socket's folder is in the folder for temporary files, which other tests use as well.
    own = Path(tempfile.mkdtemp(prefix="mpi-"))
    monkeypatch.setenv("TMPDIR", str(own))
    others = set(faults.children_of(os.getpid()))
    with rc.Session(cores=3, run_dir=tmp_path / "run") as session:
        assert session.submit(world, ranks=3, comm="mpi").result(timeout=90) == [0, 1, 2]

        def parent(comm: rc.Communicator) -> str:
            comm.barrier()
            return parent_command()

        assert "zygote" not in session.submit(parent, ranks=3, comm="mpi").result(timeout=60)
        with pytest.raises(RankDiedError, match="rank 1 on localhost: was ended by SIGKILL"):
            session.submit(faults.die_on, 1, "SIGKILL", ranks=3, comm="mpi").result(timeout=60)
        assert session.submit(world, ranks=2, comm="mpi").result(timeout=90) == [0, 1]
        family = set(faults.children_of(os.getpid())) - others
    assert faults.wait_until(lambda: not any(process.is_running() for process in family))
    assert list(own.glob("deeprc-*")) == []
    shutil.rmtree(own)


class Deaf:
    """Once unpickled in a rank that the agent serves, its MPI library does not hear the agent."""

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return _hear_nothing, ()


def _hear_nothing() -> None:
    if sys.modules["__main__"].__spec__.name != "deeprc.runtime.rank.plain_rank":  # type: ignore[union-attr]
        for name in ("PMI_FD", "PMI_RANK", "PMI_SIZE"):
            os.environ.pop(name, None)


def test_an_mpi_library_that_is_not_served_falls_back_to_its_launcher(tmp_path: Path) -> None:
    """Ranks that find themselves alone in their worlds are started again by mpiexec, with a warning."""

    def ranks(comm: rc.Communicator, deaf: Deaf) -> list[int]:
        return comm.all_gather(comm.rank)

    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        assert session.submit(ranks, Deaf(), ranks=2, comm="mpi").result(timeout=90) == [0, 1]
    warnings = [event["message"] for event in read_run(tmp_path / "run").of_kind("warning")]
    assert any("started by mpiexec" in warning for warning in warnings)


def test_mpi_ranks_come_out_of_the_zygote_too(session: rc.Session) -> None:
    """Without mpiexec: the parent of an MPI rank is the zygote."""

    def parent(comm: rc.Communicator) -> str:
        comm.barrier()
        return parent_command()

    assert "deeprc.runtime.rank.zygote" in session.submit(parent, ranks=2, comm="mpi").result(timeout=60)


@pytest.mark.parametrize(
    ("line", "ending"),
    [("os.kill(os.getpid(), 9)", "was ended by SIGKILL"), ("os._exit(3)", "exited with code 3")],
    ids=["killed", "exits"],
)
def test_a_module_that_ends_its_importer_costs_only_its_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, ending: str
) -> None:
    """A library that crashes as it is imported: the error names it and its log, and the node serves other tasks."""
    # The request for the rank has to be waiting by then.
    (tmp_path / "crashes.py").write_text(f"import os, time\ntime.sleep(0.5)\n{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with rc.Session(cores=1, run_dir=tmp_path / "run") as session:
        error = session.submit(imports("crashes")(lambda: 5)).exception(timeout=60)
        assert isinstance(error, RankDiedError)
        assert f"not started, as the process that imports for it {ending}: see logs/zygote-" in str(error)
        assert session.submit(len, [1, 2]).result(timeout=60) == 2


def test_a_module_that_leaves_at_import_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script without a main guard that ends by sys.exit: the task decides whether it matters."""
    (tmp_path / "leaves.py").write_text("raise SystemExit(2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with rc.Session(cores=1, run_dir=tmp_path / "run") as session:
        assert session.submit(imports("leaves")(lambda: 5)).result(timeout=60) == 5
