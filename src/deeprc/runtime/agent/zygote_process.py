"""The agent's handle of one zygote: asks it for ranks, hears of their exits."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.messages import Profile
from deeprc.runtime.process import shared_folder

_MAX_MESSAGE_BYTES = 1 << 16
_END_S = 2.0
# Libraries read their number of threads from these, once, when they are imported.
_THREAD_VARIABLES = (
    "POLARS_MAX_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_PLACE_VARIABLES = (
    "OMPI_MCA_btl_sm_backing_directory",
    "UCX_POSIX_DIR",
    # The launcher's, of Open MPI 5 and 4, on the node where it runs.
    "PRTE_MCA_prte_local_tmpdir_base",
    "OMPI_MCA_orte_local_tmpdir_base",
)
_ALLOCATOR = "_RJEM_MALLOC_CONF"
_KEPT_BELOW_BYTES = 32 << 20


def node_environment(network: Mapping[str, str], shared_memory: Path) -> dict[str, str]:
    """What tells libraries the network of their node (`network_environment`), and where to keep shared memory.

    For Open MPI and UCX that is the folder `shared_memory`: killed ranks, and a killed launcher, leave theirs behind.
    """
    return {**network, **dict.fromkeys(_PLACE_VARIABLES, str(shared_memory))}


def rank_environment(profile: Profile, node: Mapping[str, str]) -> dict[str, str]:
    """The environment in which libraries are imported for ranks of a profile, on the node of a `node_environment`."""
    threads = dict.fromkeys(_THREAD_VARIABLES, str(profile.threads))
    defaults = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    # Polars' memory in huge pages: with small ones a forked rank spends a third of a sort in page faults.
    defaults["POLARS_THP"] = "1"
    allocator = {_ALLOCATOR: _allocator_settings(profile.threads, os.environ.get(_ALLOCATOR, ""))}
    return {**defaults, **os.environ, **threads, **allocator, **node, "PYTHONUNBUFFERED": "1"}


def _allocator_settings(threads: int, given: str) -> str:
    """How Polars' allocator (jemalloc) gives memory back in a forked rank; a number of arenas that is given counts.

    The threads that do so in the background do not outlive a fork. Without them an arena gives back only while it
    is used: so no more arenas than threads (else four a core of the machine), and pages at once, not in two steps.
    Memory of 8 MiB and more would be given back the moment it is freed, and what the next round of an exchange receives
    be faulted in and zeroed anew: so that is done from 32 MiB on. Larger columns, kept too, would be cut up for small
    ones, and given back by halves: what is left of a huge page is faulted in 4 KiB at a time.
    """
    if "narenas:" in given:
        return given
    return ",".join(
        filter(None, (given, f"narenas:{threads}", "muzzy_decay_ms:0", f"oversize_threshold:{_KEPT_BELOW_BYTES}"))
    )


class ZygoteProcess:
    """Starts a zygote and turns its messages into callbacks.

    Requests made while it still imports wait in its socket; nobody waits for them here.
    """

    def __init__(
        self,
        loop: Loop,
        lease: int,
        profile: Profile,
        modules: tuple[str, ...],
        run_directory: Path,
        log: Path,
        network: dict[str, str],
        on_message: Callable[[ZygoteProcess, dict[str, Any]], None],
    ) -> None:
        self.profile = profile
        self.log = log
        self.modules = set(modules)
        self.unsafe: str | None = None
        self._loop = loop
        self._on_message = on_message
        self._shared_memory = shared_folder.new_name()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "deeprc.runtime.rank.zygote",
                    *map(str, (theirs.fileno(), lease, self._shared_memory)),
                ],
                pass_fds=[theirs.fileno(), lease],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=rank_environment(profile, node_environment(network, self._shared_memory)),
            )
        theirs.close()
        self._send((), path=sys.path, modules=list(modules), run_directory=str(run_directory))
        loop.watch(self._control.fileno(), self._receive)

    def add_modules(self, modules: tuple[str, ...]) -> None:
        """Have it import what a new task needs besides; later ranks have it."""
        if new := [module for module in modules if module not in self.modules]:
            self.modules.update(new)
            self._send((), op="import", modules=new)

    def start_rank(
        self, identifier: int, env: dict[str, str], descriptors: list[int], segments: str | None = None
    ) -> None:
        """Ask for a rank that holds `descriptors`: channel, log and, for MPI, the PMI socket.

        `segments` is what its MPI world's shared memory is called, should the zygote have to remove it.
        """
        self._send(descriptors, op="start", id=identifier, env=env, segments=segments)

    def close(self) -> None:
        self._loop.unwatch(self._control.fileno())
        self._control.close()
        # It ends what ranks have left behind; killed, it could not.
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shared_folder.remove(self._shared_memory)

    def _send(self, descriptors: Sequence[int], **message: Any) -> None:
        # It may have ended a moment ago: `_receive` will tell.
        with contextlib.suppress(ConnectionError):
            socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)

    def _receive(self) -> None:
        try:
            message = self._control.recv(_MAX_MESSAGE_BYTES)
        except ConnectionError:
            # It has ended with requests unread.
            message = b""
        if message:
            self._on_message(self, json.loads(message))
            return
        self._loop.unwatch(self._control.fileno())
        code = self._process.wait()
        shared_folder.remove(self._shared_memory)
        self._on_message(self, {"lost": True, "code": code})
