"""An MPI world started by the library's own mpiexec or the site's launcher: for what `PmiServer` cannot serve.

The launcher starts a keeper for each rank (`plain_rank`), which joins the agent of its node over a socket in the
world's folder there, is asked for a rank that holds its channel and log, and says how that ended.

Where the world spans nodes each agent has such a folder. They tell each other where (by the same fence as PMI's
values), and the agent of rank 0 runs the launcher, which starts the keepers of all nodes.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from deeprc.runtime.agent.launcher import Launcher, launcher_name
from deeprc.runtime.agent.zygote_process import node_environment, rank_environment
from deeprc.runtime.link.lease import HELLO_S
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.messages import Profile
from deeprc.runtime.process import shared_folder

_MESSAGE_BYTES = 4096
_ANSWER_S = 5.0
# When its launcher has ended, keepers that it has ended may still tell how their ranks did.
_LAST_WORDS_S = 1.0


class PlainWorld:
    """The keepers on this node, one for each of the `ranks` here.

    `on_pid(rank, pid)` is called as each rank is started, `on_exit(pid, code)` when one has ended, `on_lost(why)` when
    no launcher starts or holds them any more. `node` is this one's name, `network` what tells libraries its interface.
    """

    def __init__(
        self,
        loop: Loop,
        lease: int,
        run_directory: Path,
        node: str,
        ranks: range,
        network: Mapping[str, str],
        on_pid: Callable[[int, int], None],
        on_exit: Callable[[int, int], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._lease = lease
        self._run_directory = run_directory
        self._node = node
        self._ranks = ranks
        self._on_pid, self._on_exit, self._on_lost = on_pid, on_exit, on_lost
        self._descriptors: dict[int, tuple[int, int]] = {}
        self._keepers: list[socket.socket] = []
        self._launcher: Launcher | None = None
        self._folder = shared_folder.new_name()
        self._held: int | None = shared_folder.hold(self._folder)
        # What ranks need of this node; the launcher's environment may be another's.
        self._environment = node_environment(network, self._folder)
        # Not in the run directory: a socket's path may have 107 characters at most.
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self._folder / "agent"))
        self._listener.listen()
        loop.watch(self._listener.fileno(), self._welcome)
        loop.later(HELLO_S, self._check_that_all_came)

    @property
    def part(self) -> dict[str, str]:
        """What the agent that runs the launcher has to know of this node."""
        return {str(self._ranks.start): json.dumps([self._node, len(self._ranks), str(self._folder)])}

    def expect(self, rank: int, channel: int, log: int) -> None:
        """Keep copies of what a rank will hold."""
        self._descriptors[rank] = (os.dup(channel), os.dup(log))

    def start(self, parts: Mapping[str, str], profile: Profile) -> None:
        """Run the launcher for the ranks of all nodes, each of which has said its `part`, if rank 0 is here."""
        if self._ranks.start != 0 or self._launcher is not None or self._held is None:
            return
        nodes = [json.loads(parts[first]) for first in sorted(parts, key=int)]
        hosts = [node for node, ranks, _ in nodes for _ in range(ranks)]
        folders = [f"{ranks}:{folder}" for _, ranks, folder in nodes]
        keeper = [sys.executable, "-m", "deeprc.runtime.rank.plain_rank", str(self._run_directory), *folders]
        try:
            self._launcher = Launcher(
                self._loop,
                hosts,
                keeper,
                rank_environment(profile, self._environment),
                self._run_directory / "logs" / "mpiexec.log",
                on_end=lambda why: self._loop.later(_LAST_WORDS_S, partial(self._lost, why)),
            )
        except OSError as error:
            self._loop.later(0, partial(self._lost, f"{launcher_name(hosts)} cannot be run: {error}"))

    def close(self) -> None:
        """End the keepers, with them their ranks, and then the launcher."""
        if self._held is None:
            return
        os.close(self._held)
        self._held = None
        for keeper in self._keepers:
            self._let_go(keeper)
        self._stop_listening()
        remove = partial(shared_folder.remove, self._folder)
        self._launcher.close(then=remove) if self._launcher is not None else remove()

    def _lost(self, why: str) -> None:
        if self._held is not None:
            self._on_lost(why)

    def _check_that_all_came(self) -> None:
        if self._descriptors:
            self._lost(f"its launcher has not started it within {HELLO_S:.0f} s")

    def _welcome(self) -> None:
        keeper, _ = self._listener.accept()
        keeper.settimeout(_ANSWER_S)
        try:
            self._ask_for_rank(keeper)
        except (OSError, ValueError, KeyError):
            # Gone before it had said who it is.
            keeper.close()
            return
        self._keepers.append(keeper)
        self._loop.watch(keeper.fileno(), lambda: self._hear(keeper))
        if not self._descriptors:
            self._stop_listening()

    def _ask_for_rank(self, keeper: socket.socket) -> None:
        rank = json.loads(keeper.recv(_MESSAGE_BYTES))["rank"]
        socket.send_fds(keeper, [b"lease"], [self._lease])
        start = {"op": "start", "id": rank, "env": self._environment}
        descriptors = self._descriptors[rank]
        socket.send_fds(keeper, [json.dumps(start).encode()], list(descriptors))
        del self._descriptors[rank]
        for descriptor in descriptors:
            os.close(descriptor)

    def _hear(self, keeper: socket.socket) -> None:
        try:
            message = keeper.recv(_MESSAGE_BYTES)
        except ConnectionError:
            message = b""
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
