"""The ranks of one node: forked from zygotes when needed, kept warm between tasks, retired when doubtful."""

from __future__ import annotations

import itertools
import os
import socket
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from deeprc.runtime.agent.launcher import asked_for
from deeprc.runtime.agent.network import network_environment, spanning_environment
from deeprc.runtime.agent.plain_world import PlainWorld
from deeprc.runtime.agent.pmi import PmiWorld
from deeprc.runtime.agent.pmi_server import PmiServer
from deeprc.runtime.agent.rank_process import RankProcess, kill_process
from deeprc.runtime.agent.zygote_process import ZygoteProcess
from deeprc.runtime.link.channel import Channel
from deeprc.runtime.link.loop import Loop
from deeprc.runtime.link.messages import Profile, RunGang
from deeprc.runtime.process import shared_folder
from deeprc.runtime.process.exits import how_it_ended
from deeprc.workspace import remove_spilled

Record = Callable[..., None]
# After this a rank that was killed writes no more.
_SURELY_DEAD_S = 0.5


class RankPool:
    """Hands out gangs of ranks. A gang for MPI is a world of its own, and is kept as one.

    The part here of a world that spans nodes has the driver's name for it, and is kept until the driver ends it.
    `on_message(rank, frame)` is called for what a rank sends, `on_pid(rank)` when its process is there, `on_end(rank)`
    when it has hung up, `on_exit(rank)` when it has ended; `on_fence(world, values)` when the ranks here of a world
    that spans nodes wait for the others, or its launcher for them.
    """

    def __init__(
        self,
        loop: Loop,
        lease: int,
        run_directory: Path,
        node: str,
        address: str,
        record: Record,
        on_message: Callable[[RankProcess, memoryview], None],
        on_end: Callable[[RankProcess], None],
        on_exit: Callable[[RankProcess], None],
        on_pid: Callable[[RankProcess], None],
        on_fence: Callable[[str, dict[str, str]], None],
    ) -> None:
        self._loop = loop
        self._lease = lease
        self._run_directory = run_directory
        self._node = node
        self._address = address
        self._network = network_environment(address)
        self._record = record
        self._on_message, self._on_end = on_message, on_end
        self._on_exit, self._on_pid = on_exit, on_pid
        self._on_fence = on_fence
        # Whether MPI worlds are started by the library's mpiexec; set once serving them has been seen to fail.
        self.plain_mpi = asked_for()
        self._zygotes: dict[Profile, ZygoteProcess] = {}
        self._ranks: dict[int, RankProcess] = {}
        self._idle: dict[Profile, list[RankProcess]] = defaultdict(list)
        self._idle_worlds: dict[tuple[Profile, int], list[list[RankProcess]]] = defaultdict(list)
        self._spanning: dict[str, list[RankProcess]] = {}
        self._identifiers = itertools.count()
        shared_folder.remove_abandoned()

    def prepare(self, profile: Profile, modules: tuple[str, ...]) -> ZygoteProcess:
        """The zygote of a profile, started if it is not there."""
        zygote = self._zygotes.get(profile)
        if zygote is None:
            log = self._log("zygote", f"{profile.family}-{profile.threads}")
            zygote = ZygoteProcess(
                self._loop,
                self._lease,
                profile,
                modules,
                self._run_directory,
                log,
                self._network,
                self._hear_zygote,
            )
            self._zygotes[profile] = zygote
        else:
            zygote.add_modules(modules)
        return zygote

    def acquire(self, order: RunGang) -> list[RankProcess]:
        """The ranks here of a gang; warm ones unless isolated. Those without a `pid` are still being forked.

        None at all, if the driver asks for a warm world that has lost a rank.
        """
        profile, size = order.profile, len(order.ranks)
        self.prepare(profile, order.modules)
        if order.world is not None:
            return self._spanning.get(order.world, []) if order.warm else self._start_part(order)
        if order.backend == "mpi":
            worlds = self._idle_worlds[profile, size]
            return worlds.pop() if worlds and not order.isolated else self._start_world(order)
        idle = self._idle[profile]
        warm = [] if order.isolated else [idle.pop() for _ in range(min(size, len(idle)))]
        return warm + [self._start(profile) for _ in range(size - len(warm))]

    def release(self, order: RunGang, gang: list[RankProcess]) -> None:
        """Take a gang back after a task that went well."""
        if order.world is not None:
            return
        if order.backend == "mpi":
            self._idle_worlds[order.profile, len(gang)].append(gang)
        else:
            self._idle[order.profile].extend(gang)

    def complete_fence(self, world: str, values: dict[str, str]) -> None:
        """Let the ranks here of a world go on, or have them started: those of all nodes have come to the barrier."""
        for rank in self._spanning.get(world, ())[:1]:
            if isinstance(rank.world, PmiServer):
                rank.world.complete_fence(values)
            elif rank.world is not None:
                rank.world.start(values, rank.profile)

    def end_world(self, world: str) -> None:
        """End the ranks here of a world that spans nodes."""
        self.retire(self._spanning.get(world, []).copy(), reason="its MPI world is no longer needed")

    def world_of(self, rank: RankProcess) -> str | None:
        """The name of the world, of those that span nodes, to which a rank belongs."""
        return next((name for name, ranks in self._spanning.items() if rank in ranks), None)

    def trim(self, keep: int) -> None:
        """End idle ranks beyond `keep`: they hold memory."""
        if len(self._ranks) <= keep:
            return
        pools: list[list[Any]] = [*self._idle_worlds.values(), *self._idle.values()]
        count = sum(len(gang) if isinstance(gang, list) else 1 for pool in pools for gang in pool)
        for pool in pools:
            while pool and count > keep:
                gang = pool.pop(0)
                ranks = gang if isinstance(gang, list) else [gang]
                count -= len(ranks)
                self.retire(ranks, reason="idle")

    def retire(self, ranks: list[RankProcess], *, reason: str) -> None:
        """End ranks for good, and all that they started."""
        for rank in ranks:
            if not rank.retired:
                self._record("rank.ended", pid=rank.pid, reason=reason)
            rank.kill()
            self._forget(rank)
            if rank.pid is not None:
                self._loop.later(_SURELY_DEAD_S, partial(self._remove_spilled, rank.pid))

    def _remove_spilled(self, pid: int) -> None:
        # Of many gigabytes that takes longer than this loop should wait.
        Thread(target=remove_spilled, args=(self._run_directory, pid), daemon=True).start()

    def close(self) -> None:
        """End every rank and zygote of this node."""
        for rank in list(self._ranks.values()):
            rank.kill()
            self._forget(rank)
        for zygote in self._zygotes.values():
            zygote.close()

    def _start_part(self, order: RunGang) -> list[RankProcess]:
        """Start the ranks here of a world that spans nodes."""
        name = order.world
        assert name is not None
        if order.plain_mpi:
            world, ranks = self._expect_plainly(order, self._network | spanning_environment(self._address))
            self._on_fence(name, world.part)
        else:
            served = PmiServer(
                self._loop, PmiWorld(order.layout, order.part, name), lambda values: self._on_fence(name, values)
            )
            ranks = [self._start(order.profile, served, rank) for rank in order.ranks]
        self._spanning[name] = ranks
        return ranks.copy()

    def _start_world(self, order: RunGang) -> list[RankProcess]:
        """Start a world of this node alone."""
        if not (order.plain_mpi or self.plain_mpi):
            served = PmiServer(self._loop, PmiWorld(order.layout), lambda _: None)
            return [self._start(order.profile, served, rank) for rank in order.ranks]
        world, ranks = self._expect_plainly(order, self._network)
        world.start(world.part, order.profile)
        return ranks

    def _expect_plainly(self, order: RunGang, network: dict[str, str]) -> tuple[PlainWorld, list[RankProcess]]:
        """The ranks here of a world that a launcher will start."""
        ranks: list[RankProcess] = []
        first = order.ranks.start
        world = PlainWorld(
            self._loop,
            self._lease,
            self._run_directory,
            self._node,
            order.ranks,
            network,
            on_pid=lambda rank, pid: self._pid_known(ranks[rank - first], pid),
            on_exit=self._exited,
            on_lost=lambda why: self._launcher_lost(ranks, why),
        )
        ranks += [self._start(order.profile, world, rank) for rank in order.ranks]
        return world, ranks

    def _start(self, profile: Profile, world: PmiServer | PlainWorld | None = None, world_rank: int = 0) -> RankProcess:
        identifier = next(self._identifiers)
        ours, theirs = socket.socketpair()
        log = self._log("rank", str(identifier))
        channel = Channel(self._loop, ours, lambda frame: self._on_message(rank, frame), lambda: self._on_end(rank))
        rank = RankProcess(identifier, profile, channel, log, world)
        self._ranks[identifier] = rank
        log_descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        zygote = self._zygotes[profile]
        if world is None:
            zygote.start_rank(identifier, {}, [theirs.fileno(), log_descriptor])
        elif isinstance(world, PlainWorld):
            world.expect(world_rank, theirs.fileno(), log_descriptor)
        else:
            pmi, env = world.connect(world_rank)
            if world.spans_nodes:
                env |= spanning_environment(self._address)
            zygote.start_rank(identifier, env, [theirs.fileno(), log_descriptor, pmi.fileno()], world.segments)
            pmi.close()
        theirs.close()
        os.close(log_descriptor)
        return rank

    def _log(self, process: str, name: str) -> Path:
        """The log of a process; those of all nodes lie in one directory."""
        return self._run_directory / "logs" / f"{process}-{self._node}-{name}.log"

    def _hear_zygote(self, zygote: ZygoteProcess, message: dict[str, Any]) -> None:
        if "started" in message:
            rank = self._ranks.get(message["started"])
            if rank is None:
                # Retired while it was still being started.
                kill_process(message["pid"])
            else:
                self._pid_known(rank, message["pid"])
        elif "exited" in message:
            self._exited(message["exited"], message["code"])
        elif "ready" in message:
            self._zygote_ready(zygote, message)
        elif "lost" in message:
            self._zygote_lost(zygote, message["code"])

    def _pid_known(self, rank: RankProcess, pid: int) -> None:
        rank.pid = pid
        self._record("rank.started", pid=pid, profile=str(rank.profile), log=f"logs/{rank.log.name}")
        self._on_pid(rank)

    def _exited(self, pid: int, code: int) -> None:
        for rank in list(self._ranks.values()):
            if rank.pid == pid:
                rank.exit_code = code
                self._on_exit(rank)
                self._forget(rank)

    def _launcher_lost(self, ranks: list[RankProcess], why: str) -> None:
        for rank in ranks:
            if not rank.retired:
                rank.forsaken = why
                self._on_exit(rank)

    def _zygote_ready(self, zygote: ZygoteProcess, message: dict[str, Any]) -> None:
        zygote.unsafe = message["unsafe"]
        self._record(
            "zygote.started",
            profile=str(zygote.profile),
            import_seconds=round(message["import_seconds"], 3),
            start="fork" if zygote.unsafe is None else "spawn",
            warning=_zygote_warning(zygote, message),
        )

    def _zygote_lost(self, zygote: ZygoteProcess, code: int) -> None:
        del self._zygotes[zygote.profile]
        why = f"the process that imports for it {how_it_ended(code)}: see logs/{zygote.log.name}"
        self._record("warning", message=f"the zygote for {zygote.profile} {how_it_ended(code)}")
        for rank in [rank for rank in self._ranks.values() if rank.profile == zygote.profile]:
            if not isinstance(rank.world, PlainWorld):
                rank.forsaken = why
                self._on_exit(rank)
                self._forget(rank)

    def _forget(self, rank: RankProcess) -> None:
        if self._ranks.pop(rank.identifier, None) is None:
            return
        rank.retired = True
        rank.channel.close()
        rank.page.close()
        if rank.world is not None:
            rank.world.close()
        for pool in self._idle.values():
            pool[:] = [other for other in pool if other is not rank]
        for worlds in self._idle_worlds.values():
            for world in [world for world in worlds if rank in world]:
                worlds.remove(world)
                self.retire([peer for peer in world if peer is not rank], reason="a rank of its MPI world ended")
        if (name := self.world_of(rank)) is not None:
            peers = self._spanning.pop(name)
            self.retire([peer for peer in peers if peer is not rank], reason="a rank of its MPI world ended")


def _zygote_warning(zygote: ZygoteProcess, message: dict[str, Any]) -> str:
    parts = [f"could not import {name}: {why}" for name, why in message["failed"].items()]
    if zygote.unsafe is not None:
        parts.insert(0, f"ranks are started plainly, which takes seconds each, because {zygote.unsafe}")
    return "; ".join(parts)
