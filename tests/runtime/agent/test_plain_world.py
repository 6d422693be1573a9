"""MPI ranks that the library's own launcher has started: their ends are told as those of any other, nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import deeprc
import tests

_SCRIPT = """
    import json, sys, tempfile, time
    from pathlib import Path
    import psutil
    import deeprc as rc
    from tests.runtime import faults; from tests.runtime.agent import stuck_tasks

    def used(comm: rc.Communicator) -> list:
        # The MPI library, and where its shared memory is.
        from mpi4py import MPI
        comm.barrier()
        lines = Path("/proc/self/maps").read_text().splitlines()
        return [MPI.Get_library_version(), sorted({line.split()[-1] for line in lines if " /dev/shm/" in line})]

    def ends(session: rc.Session) -> list:
        told = []
        for rank, how in ((1, "SIGKILL"), (0, "SIGSEGV"), (2, "exit")):
            error = session.submit(faults.die_on, rank, how, ranks=3, comm="mpi").exception(timeout=120)
            told.append([error.rank, error.signal, error.exit_code, error.output.splitlines()[0]])
        return told

    def left(agent: psutil.Process, family: list) -> list:
        def folders() -> list:
            return [path.name for path in Path("/dev/shm").glob(f"deeprc-mpi-{agent.pid}-*")]
        faults.wait_until(lambda: not any(faults.alive(process.pid) for process in family), timeout_s=30)
        faults.wait_until(lambda: not folders(), timeout_s=30)
        return [str(process) for process in family if faults.alive(process.pid)] + folders()

    def files(launcher: psutil.Process) -> list:
        return list(Path(tempfile.gettempdir()).glob(f"ompi.{launcher.pid}"))

    with rc.Session(cores=3, run_dir=sys.argv[1] + "/run") as session:
        version, shared = session.submit(used, ranks=2, comm="mpi").result(timeout=120)
        told = ends(session)
        error = session.submit(stuck_tasks.one_leaves, "barrier", ranks=3, comm="mpi").exception(timeout=120)
        stuck = [type(error).__name__, error.whereabouts[0]]
        agent = faults.agent_of(session)
        family = [agent, *agent.children(recursive=True)]
    left_by_session = left(agent, family)

    with rc.Session(cores=3, run_dir=sys.argv[1] + "/second") as session:
        future = session.submit(faults.announce_and_wait, sys.argv[1], ranks=3, comm="mpi")
        assert faults.wait_until(lambda: len(list(Path(sys.argv[1]).glob("rank?"))) == 3, timeout_s=120)
        agent = faults.agent_of(session)
        family = [agent, *agent.children(recursive=True)]
        # Open MPI's launcher has files of its own, and removes them unless it is killed.
        launchers = [process for process in family if process.name().startswith(("mpiexec", "prterun", "mpirun"))]
        assert launchers
        if version.startswith("Open MPI"):
            for process in launchers:
                process.kill()
        agent.kill()
        lost = type(future.exception(timeout=60)).__name__
    left_by_agent = left(agent, family) + [str(place) for process in launchers for place in files(process)]
    print(json.dumps([version, shared, told, stuck, left_by_session, lost, left_by_agent]))
"""


def interpreter(library: str) -> str:
    """The Python to which an MPI library belongs; skips the test where there is none."""
    if library == "mpich":
        return sys.executable
    python = os.environ.get("DEEPRC_TEST_OPENMPI")
    if python is None:
        pytest.skip("DEEPRC_TEST_OPENMPI names no Python whose mpi4py is Open MPI's")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("library", ["mpich", "openmpi"])
def test_ends_are_told_and_nothing_is_left(tmp_path: Path, library: str) -> None:
    """Which rank, by which signal or exit code, with its output; also when the agent is killed, nothing stays."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_SCRIPT))
    ours = [str(Path(package.__file__ or "").parents[1]) for package in (deeprc, tests)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(ours)}
    if library == "mpich":
        environment["DEEPRC_MPI_START"] = "plain"
    command = [interpreter(library), str(script), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    version, shared, told, stuck, left, lost, left_by_agent = json.loads(done.stdout)
    assert ("Open MPI" in version) == (library == "openmpi")
    if library == "openmpi":
        # Not of its own choice: else killed ranks would leave it behind.
        assert shared
        assert all(path.startswith("/dev/shm/deeprc-mpi-") for path in shared)
    assert told == [
        [1, "SIGKILL", -9, "rank 1 was here"],
        [0, "SIGSEGV", -11, "rank 0 was here"],
        [2, None, 7, "rank 2 was here"],
    ]
    assert stuck == ["StuckCollectiveError", "has returned"]
    assert left == []
    assert lost == "AgentLostError"
    assert left_by_agent == []
