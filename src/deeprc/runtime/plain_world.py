"""An MPI world started by the library's own mpiexec or the site's launcher: for what `PmiServer` cannot serve.

It starts a plain interpreter for each rank, which asks the agent for its channel and log over a socket in a
private folder, and serves like any other rank. When one dies mpiexec ends all, so that an error may name a peer.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from deeprc.runtime.loop import Loop

# Open MPI refuses to run as root, and more ranks than cores, unless told.
_PERMISSIONS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
_HELLO_BYTES = 4096


def mpiexec() -> str | None:
    """The launcher that belongs to this interpreter's environment, or else the one on PATH."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def launcher(ranks: int) -> list[str] | None:
    """The command that starts so many ranks of a world here, to which theirs is added; None if there is none.

    DEEPRC_MPI_LAUNCHER says it, with {ranks} for their number, as a site's pilot may; else it is `mpiexec`.
    """
    if own := os.environ.get("DEEPRC_MPI_LAUNCHER"):
        return [word.replace("{ranks}", str(ranks)) for word in shlex.split(own)]
    found = mpiexec()
    return [found, "-n", str(ranks)] if found else None


class PlainWorld:
    """mpiexec and the ranks it starts. `on_pid(rank, pid)` is called as each of them reports."""

    def __init__(self, loop: Loop, lease: int, run_directory: Path, on_pid: Callable[[int, int], None]) -> None:
        self._loop = loop
        self._lease = lease
        self._run_directory = run_directory
        self._on_pid = on_pid
        self._descriptors: dict[int, tuple[int, int]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        # Not in the run directory: a socket's path may have 107 characters at most.
        self._folder = Path(tempfile.mkdtemp(prefix="deeprc-"))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self._folder / "agent"))
        self._listener.listen()
        loop.watch(self._listener.fileno(), self._welcome)

    def expect(self, rank: int, channel: int, log: int) -> None:
        """Keep copies of what a rank will ask for."""
        self._descriptors[rank] = (os.dup(channel), os.dup(log))

    def start(self, environment: Mapping[str, str]) -> None:
        """Start mpiexec for all ranks that are expected."""
        ranks = len(self._descriptors)
        start_ranks = launcher(ranks) or ["mpiexec", "-n", str(ranks)]
        rank_command = [sys.executable, "-m", "deeprc.runtime.plain_rank", str(self._folder / "agent")]
        with (self._run_directory / "logs" / "mpiexec.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*start_ranks, *rank_command, str(self._run_directory)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment, **_PERMISSIONS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )

    def close(self) -> None:
        """End mpiexec; its ranks are ended by whoever holds their process ids."""
        self._stop_listening()
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _welcome(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(5)
            hello = json.loads(connection.recv(_HELLO_BYTES))
            descriptors = self._descriptors.pop(hello["rank"])
            socket.send_fds(connection, [b"serve"], [*descriptors, self._lease])
        for descriptor in descriptors:
            os.close(descriptor)
        self._on_pid(hello["rank"], hello["pid"])
        if not self._descriptors:
            self._stop_listening()

    def _stop_listening(self) -> None:
        for descriptors in self._descriptors.values():
            for descriptor in descriptors:
                os.close(descriptor)
        self._descriptors.clear()
        if self._folder.exists():
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
            shutil.rmtree(self._folder, ignore_errors=True)
