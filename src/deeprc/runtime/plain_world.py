"""An MPI world started by the library's own mpiexec or the site's launcher: for what `PmiServer` cannot serve.

It starts a keeper for each rank (`plain_rank`), which joins the agent over a socket in the world's folder, is asked for
a rank that holds its channel and log, and says how that ended.
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
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from deeprc.runtime import shared_folder
from deeprc.runtime.loop import Loop

# Open MPI refuses to run as root, and more ranks than cores, unless told.
_PERMISSIONS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
_MESSAGE_BYTES = 4096
# Its keepers hang up first, and then it has nothing left to do.
_END_S = 3.0


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
    """mpiexec and the keepers it starts, one for each rank.

    `on_pid(rank, pid)` is called as each rank is started, `on_exit(pid, code)` when one has ended.
    """

    def __init__(
        self,
        loop: Loop,
        lease: int,
        run_directory: Path,
        on_pid: Callable[[int, int], None],
        on_exit: Callable[[int, int], None],
    ) -> None:
        self._loop = loop
        self._lease = lease
        self._run_directory = run_directory
        self._on_pid, self._on_exit = on_pid, on_exit
        self._descriptors: dict[int, tuple[int, int]] = {}
        self._keepers: list[socket.socket] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.shared_memory = shared_folder.new_name()
        self._held: int | None = shared_folder.hold(self.shared_memory)
        # Not in the run directory: a socket's path may have 107 characters at most.
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self.shared_memory / "agent"))
        self._listener.listen()
        loop.watch(self._listener.fileno(), self._welcome)

    def expect(self, rank: int, channel: int, log: int) -> None:
        """Keep copies of what a rank will hold."""
        self._descriptors[rank] = (os.dup(channel), os.dup(log))

    def start(self, environment: Mapping[str, str]) -> None:
        """Start mpiexec for all ranks that are expected."""
        ranks = len(self._descriptors)
        start_keepers = launcher(ranks) or ["mpiexec", "-n", str(ranks)]
        places = map(str, (self.shared_memory, self._run_directory))
        keeper = [sys.executable, "-m", "deeprc.runtime.plain_rank", *places]
        with (self._run_directory / "logs" / "mpiexec.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*start_keepers, *keeper],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment, **_PERMISSIONS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )

    def close(self) -> None:
        """End the keepers, with them their ranks, and then mpiexec."""
        for keeper in self._keepers:
            self._let_go(keeper)
        self._stop_listening()
        if self._held is None:
            return
        os.close(self._held)
        self._held = None
        if self._process is None:
            shared_folder.remove(self.shared_memory)
        else:
            # Beside the loop: a launcher takes its time to clean up.
            threading.Thread(target=_end_launcher, args=(self._process, self.shared_memory)).start()

    def _welcome(self) -> None:
        keeper, _ = self._listener.accept()
        keeper.settimeout(5)
        rank = json.loads(keeper.recv(_MESSAGE_BYTES))["rank"]
        socket.send_fds(keeper, [b"lease"], [self._lease])
        descriptors = self._descriptors.pop(rank)
        socket.send_fds(keeper, [json.dumps({"op": "start", "id": rank, "env": {}}).encode()], list(descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        self._keepers.append(keeper)
        self._loop.watch(keeper.fileno(), lambda: self._hear(keeper))
        if not self._descriptors:
            self._stop_listening()

    def _hear(self, keeper: socket.socket) -> None:
        message = keeper.recv(_MESSAGE_BYTES)
        told = json.loads(message) if message else {}
        if "started" in told:
            self._on_pid(told["started"], told["pid"])
        elif "exited" in told:
            self._on_exit(told["exited"], told["code"])
        else:
            # Ended by its launcher: the rank's channel is closed too.
            self._let_go(keeper)
            self._keepers.remove(keeper)

    def _let_go(self, keeper: socket.socket) -> None:
        if keeper.fileno() >= 0:
            self._loop.unwatch(keeper.fileno())
            keeper.close()

    def _stop_listening(self) -> None:
        for descriptors in self._descriptors.values():
            for descriptor in descriptors:
                os.close(descriptor)
        self._descriptors.clear()
        if self._listener.fileno() >= 0:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()


def _end_launcher(process: subprocess.Popen[bytes], shared_memory: Path) -> None:
    """End mpiexec, in good order if it can: killed, it would leave its own files behind."""
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    shared_folder.remove(shared_memory)
