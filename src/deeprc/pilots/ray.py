"""Nodes of a Ray cluster: a placement group holds them, an actor on each keeps our agent alive.

Ray places and watches the nodes; tasks go from our driver to our agents, never through Ray.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from deeprc.errors import MissingDependencyError, ResourceError
from deeprc.pilots.leases import CoreLease
from deeprc.pilots.ray_cluster import LOOPBACK, NodeOffer, bundle, chosen_nodes, driver_host, named, offers
from deeprc.runtime.pilot import Allocation, Node
from deeprc.runtime.process.exits import how_it_ended

PLACEMENT_TIMEOUT_S = 300.0
_STOP_TIMEOUT_S = 10.0


class RayPilot:
    """Nodes of the Ray cluster at `address`, or of one that is started for this session.

    Args:
        address: "HOST:PORT" of a cluster whose node this machine is, or "auto" to find it. Default: the cluster
            that this process is connected to, else that of the environment's RAY_ADDRESS, else a new one on this
            machine, which ends with the session.
        placement_timeout_s: how long the cluster may take to free the nodes (an autoscaler, to start them).
    """

    def __init__(self, address: str | None = None, *, placement_timeout_s: float = PLACEMENT_TIMEOUT_S) -> None:
        self._address = address
        self._placement_timeout_s = placement_timeout_s
        self._ray: Any = None
        self._connected_here = False
        self._group: Any = None
        self._actors: dict[str, Any] = {}
        self._ends: dict[str, Any] = {}
        self._lost: dict[str, str] = {}
        self._lease: CoreLease | None = None

    def host(self, allocation: Allocation) -> str:
        self._connect(allocation)
        return driver_host(self._offers(), self._ray.util.get_node_ip_address())

    def start(self, allocation: Allocation, run_directory: Path) -> list[Node]:
        self._connect(allocation)
        try:
            chosen = chosen_nodes(self._offers(), allocation)
            self._hold(chosen)
            nodes = self._start_agents(chosen, run_directory)
        except BaseException:
            self.close()
            raise
        return nodes

    def remarks(self) -> list[str]:
        return [] if self._lease is None else self._lease.remarks()

    def lost_nodes(self) -> dict[str, str]:
        for name, end in list(self._ends.items()):
            done, _ = self._ray.wait([end], timeout=0)
            if done:
                del self._ends[name]
                self._lost[name] = self._why_ended(end)
        return dict(self._lost)

    def close(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        try:
            self._end(timeout_s)
        finally:
            if self._lease is not None:
                self._lease.release()
                self._lease = None

    def _end(self, timeout_s: float) -> None:
        if self._ray is None:
            return
        stopping = [actor.stop.remote() for actor in self._actors.values()]
        if stopping:
            self._ray.wait(stopping, num_returns=len(stopping), timeout=timeout_s)
        for actor in self._actors.values():
            self._ray.kill(actor)
        if self._group is not None:
            self._ray.util.remove_placement_group(self._group)
        self._actors, self._ends, self._group = {}, {}, None
        if self._connected_here:
            self._ray.shutdown()
        self._ray = None

    def _connect(self, allocation: Allocation) -> None:
        if self._ray is not None:
            return
        try:
            import ray
        except ImportError as error:
            raise MissingDependencyError("the ray pilot needs Ray: pip install 'deeprc[ray]'") from error
        self._ray = ray
        if ray.is_initialized():
            return
        address = self._address or os.environ.get("RAY_ADDRESS")
        if address:
            options: dict[str, Any] = {"address": address}
        else:
            self._lease = CoreLease(allocation.cores)
            options = _own_cluster(self._lease.count)
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **options)
        except BaseException:
            self.close()
            raise
        self._connected_here = True

    def _offers(self) -> list[NodeOffer]:
        return offers(self._ray.nodes())

    def _hold(self, chosen: list[NodeOffer]) -> None:
        """Have Ray keep the nodes for us, each whole share on a node of its own."""
        ray = self._ray
        self._group = ray.util.placement_group([bundle(offer) for offer in chosen], strategy="STRICT_SPREAD")
        ready, _ = ray.wait([self._group.ready()], timeout=self._placement_timeout_s)
        if not ready:
            raise ResourceError(
                f"the Ray cluster did not free {len(chosen)} nodes with {bundle(chosen[0])} each within "
                f"{self._placement_timeout_s:.0f} s: others hold them. Ask for less, or wait longer: "
                f"RayPilot(placement_timeout_s=...)"
            )

    def _new_actors(self, chosen: list[NodeOffer], run_directory: Path) -> list[Any]:
        """An actor on each of the nodes that Ray holds for us."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        from deeprc.pilots import ray_actor

        # By value: Ray's workers find it without a runtime environment, which would cost them seconds.
        self._ray.cloudpickle.register_pickle_by_value(ray_actor)
        actor_class = self._ray.remote(ray_actor.AgentActor)
        return [
            actor_class.options(
                num_cpus=offer.cores,
                num_gpus=offer.gpus,
                max_concurrency=3,
                max_restarts=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(self._group, index),
            ).remote(str(run_directory))
            for index, offer in enumerate(chosen)
        ]

    def _start_agents(self, chosen: list[NodeOffer], run_directory: Path) -> list[Node]:
        actors = self._new_actors(chosen, run_directory)
        where = self._ray.get([actor.where.remote() for actor in actors], timeout=self._placement_timeout_s)
        # Which bundle came to lie on which node is Ray's choice.
        nodes = named(where, chosen)
        for node, actor in zip(nodes, actors, strict=True):
            self._actors[node.name] = actor
        held = self._held_here(where, nodes)
        path = os.pathsep.join(part or str(Path.cwd()) for part in sys.path)
        self._ray.get(
            [self._actors[node.name].start.remote(node.name, node.cores, path, held.get(node.name)) for node in nodes],
            timeout=self._placement_timeout_s,
        )
        self._ends = {name: actor.wait.remote() for name, actor in self._actors.items()}
        return nodes

    def _held_here(self, where: list[str], nodes: list[Node]) -> dict[str, tuple[int, ...]]:
        """The cores of this host behind each node that lies on it.

        Ray counts CPUs, and only those that it has given itself: sessions without Ray learn of them by the ledger.
        """
        here = [node for host, node in zip(where, nodes, strict=True) if host == socket.gethostname()]
        if not here:
            return {}
        if self._lease is None:
            self._lease = CoreLease(sum(node.cores for node in here))
        return {node.name: self._lease.share(number, node.cores) for number, node in enumerate(here)}

    def _why_ended(self, end: Any) -> str:
        try:
            return f"its agent {how_it_ended(self._ray.get(end))}"
        except self._ray.exceptions.RayError as error:
            return f"Ray lost its actor: {str(error).splitlines()[0]}"


def _own_cluster(cores: int) -> dict[str, Any]:
    """A cluster of this machine alone, without a dashboard, on loopback."""
    return {"address": "local", "num_cpus": cores, "include_dashboard": False, "_node_ip_address": LOOPBACK}
