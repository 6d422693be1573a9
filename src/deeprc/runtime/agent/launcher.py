"""The program that starts the ranks of an MPI world where the agents cannot: the site's, or the library's mpiexec."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deeprc.runtime.link.loop import Loop

# Open MPI refuses to run as root, and more ranks than cores, unless told.
_PERMISSIONS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
# What it started hangs up first, and then it has nothing left to do.
_END_S = 3.0
_TAIL_BYTES = 4096
_HOSTS = "{hosts}"


def mpiexec() -> str | None:
    """The launcher that belongs to this interpreter's environment, or else the one on PATH."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def launcher(hosts: Sequence[str]) -> list[str] | None:
    """The command that starts a rank on each of those nodes, to which the rank's is added; None if there is none.

    DEEPRC_MPI_LAUNCHER says it, with {ranks} for their number and {hosts} for the name of each rank's node, separated
    by commas. Where that names no nodes and there are several, DEEPRC_MPI_LAUNCHER_ACROSS does, which is a pilot's to
    set. Without the first it is `mpiexec` on one node.
    """
    words = shlex.split(_template(several=len(set(hosts)) > 1))
    if words:
        return [word.replace("{ranks}", str(len(hosts))).replace(_HOSTS, ",".join(hosts)) for word in words]
    found = mpiexec()
    return [found, "-n", str(len(hosts))] if found and len(set(hosts)) == 1 else None


def _template(*, several: bool) -> str:
    own = os.environ.get("DEEPRC_MPI_LAUNCHER", "")
    return os.environ.get("DEEPRC_MPI_LAUNCHER_ACROSS", "") if several and _HOSTS not in own else own


def launcher_spans_nodes() -> bool:
    """Whether there is a launcher for worlds that span nodes."""
    return _HOSTS in _template(several=True)


def asked_for() -> bool:
    """Whether the launcher is to start worlds from the first one on."""
    return os.environ.get("DEEPRC_MPI_START") == "plain"


def launcher_name(hosts: Sequence[str]) -> str:
    """ "srun", "mpiexec": the launcher's program, or the module if that is Python."""
    words = launcher(hosts) or ["mpiexec"]
    return words[2].rpartition(".")[2] if words[1:2] == ["-m"] else Path(words[0]).name


class Launcher:
    """The launcher of one world, which runs `command` for each rank on its node, one of `hosts`.

    What it prints goes to `log`. `on_end(why)` is called when it ends before it is closed.

    Raises:
        OSError: it cannot be run.
    """

    def __init__(
        self,
        loop: Loop,
        hosts: Sequence[str],
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        on_end: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._name = launcher_name(hosts)
        self._log = log
        self._on_end = on_end
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*(launcher(hosts) or ["mpiexec"]), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment, **_PERMISSIONS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
        self._end = os.pidfd_open(self._process.pid)
        loop.watch(self._end, self._ended)

    def close(self, then: Callable[[], None]) -> None:
        """End it, in good order if it can, beside the loop: it takes its time to clean up. Then call `then`."""
        self._stop_watching()
        threading.Thread(target=_end, args=(self._process, then)).start()

    def _ended(self) -> None:
        self._stop_watching()
        code = self._process.wait()
        said = self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip().splitlines()[-1:]
        # Killed, it has not said why.
        self._on_end(": ".join([f"{self._name} ended with code {code}", *(said if code > 0 else [])]))

    def _stop_watching(self) -> None:
        if self._end >= 0:
            self._loop.unwatch(self._end)
            os.close(self._end)
            self._end = -1


def _end(process: subprocess.Popen[bytes], then: Callable[[], None]) -> None:
    """Wait for it, ask it, kill it: killed, it would leave its own files behind."""
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    then()
