"""The Ray pilot: what Ray says and takes, translated; a real cluster of two nodes on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import deeprc as rc
from deeprc.errors import AgentLostError, ResourceError
from deeprc.journal import read_run
from deeprc.pilots.ray import RayPilot
from deeprc.pilots.ray_cluster import NodeOffer, bundle, chosen_nodes, driver_host, named, offers
from deeprc.runtime.pilot import Allocation
from tests.pilots.sites import started_as

GIB = 1 << 30


def listed(name: str, cpus: float, gpus: float = 0, *, alive: bool = True, address: str = "10.0.0.1") -> dict[str, Any]:
    """A node as `ray.nodes()` of Ray 2.60 lists it, without what nobody reads."""
    resources = {"CPU": cpus, "memory": 8.0 * GIB, "object_store_memory": 2e9, f"node:{address}": 1.0}
    if gpus:
        resources["GPU"] = gpus
    return {
        "NodeID": name * 8,
        "Alive": alive,
        "NodeManagerAddress": address,
        "NodeManagerHostname": name,
        "Resources": resources if alive else {},
    }


def test_living_nodes_are_offers_the_largest_first() -> None:
    """Dead nodes are not offered; a node without a GPU says 0."""
    found = offers([listed("a", 2.0), listed("b", 4.0, 1.0), listed("c", 16.0, alive=False)])
    assert [(node.hostname, node.cores, node.gpus) for node in found] == [("b", 4, 1), ("a", 2, 0)]
    assert found[0].memory_bytes == 8 * GIB


def test_shares_are_equal_and_as_large_as_all_nodes_allow() -> None:
    """Two nodes of 4 and 2 cores give 2 and 2; what is asked is taken as it is."""
    found = offers([listed("a", 2.0), listed("b", 4.0, 1.0)])
    assert [bundle(node) for node in chosen_nodes(found, Allocation())] == [{"CPU": 2}, {"CPU": 2}]
    assert [bundle(node) for node in chosen_nodes(found, Allocation(cores=3, nodes=1))] == [{"CPU": 3, "GPU": 1}]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Allocation(nodes=3), "has 2 nodes that give 1 cores, not 3.*b with 4 cores, 1 GPUs, 8 GiB; a with 2"),
        (Allocation(cores=4, nodes=2), "has 1 nodes that give 4 cores, not 2"),
        (Allocation(gpus=2), "has 0 nodes that give 1 cores, 2 GPUs"),
        (Allocation(memory_bytes=9 * GIB), "has 0 nodes that give .* bytes of memory"),
    ],
)
def test_what_the_cluster_lacks_is_refused_with_what_it_has(asked: Allocation, message: str) -> None:
    """Nodes, cores, GPUs, memory."""
    with pytest.raises(ResourceError, match=message):
        chosen_nodes(offers([listed("a", 2.0), listed("b", 4.0, 1.0)]), asked)


def test_the_driver_leaves_loopback_only_for_other_machines() -> None:
    """Nodes that all are this machine are reached by loopback."""
    here, there = offers([listed("a", 1.0)]), offers([listed("a", 1.0), listed("b", 1.0, address="10.0.0.2")])
    assert driver_host(here, "10.0.0.1") == "127.0.0.1"
    assert driver_host(there, "10.0.0.1") == "10.0.0.1"


def test_nodes_that_share_a_host_are_told_apart() -> None:
    """Names are unique, and a host's own where it has one node."""
    shares = [NodeOffer("x", "10.0.0.1", "?", 2, 0, GIB)] * 3
    assert [node.name for node in named(["a", "b", "a"], shares)] == ["a-1", "b", "a-2"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of two CPUs, real raylets of this machine."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def pid_and_node(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def agents(run: Path) -> list[psutil.Process]:
    """Agents of a run, whoever started them."""
    return started_as({"deeprc.runtime.agent", str(run)})


def ended(futures: list[Any], count: int, timeout_s: float = 120) -> list[Any]:
    """Those that have ended, once there are `count`."""
    deadline = time.monotonic() + timeout_s
    while len(done := [future for future in futures if future.done()]) < count:
        assert time.monotonic() < deadline, f"only {len(done)} of {count} tasks have ended"
        time.sleep(0.05)
    return done


def test_tasks_run_on_all_nodes_and_a_lost_one_is_noticed(cluster: Any, tmp_path: Path) -> None:
    """Both nodes work; when one agent dies its task fails with the reason, and the other node goes on."""
    run = tmp_path / "run"
    with rc.Session(RayPilot(cluster.address), nodes=2, run_dir=run) as session:
        futures = session.map(pid_and_node, [1.0] * 4)
        assert len({future.result(timeout=120) for future in futures}) == 4
        started = list(read_run(run).of_kind("task.started"))
        assert len({event["ranks"][0]["node"] for event in started}) == 2

        stuck = session.map(pid_and_node, [600.0] * 4)
        while not all(future.running() for future in stuck):
            time.sleep(0.05)
        agents(run)[0].kill()
        lost = ended(stuck, 2)
        for future in lost:
            with pytest.raises(AgentLostError, match="SIGKILL"):
                future.result(timeout=1)
        for future in set(stuck) - set(lost):
            session.cancel(future)
        assert session.submit(abs, -1).result(timeout=60) == 1
    assert agents(run) == []


def test_a_lost_ray_node_is_noticed(cluster: Any, tmp_path: Path) -> None:
    """A raylet is killed: Ray says that the actor died, or its agent's end is seen; the task ends either way."""
    import ray

    extra = cluster.add_node(num_cpus=2, resources={"extra": 1})
    with rc.Session(RayPilot(cluster.address), nodes=3, run_dir=tmp_path / "run") as session:
        stuck = session.map(pid_and_node, [600.0] * 6)
        while not all(future.running() for future in stuck):
            time.sleep(0.05)
        cluster.remove_node(extra, allow_graceful=False)
        lost = ended(stuck, 2)
        assert all(isinstance(future.exception(timeout=1), AgentLostError) for future in lost)
        for future in set(stuck) - set(lost):
            session.cancel(future)
    assert agents(tmp_path / "run") == []
    assert not ray.is_initialized()


def test_nodes_that_others_hold_end_in_an_error(cluster: Any, tmp_path: Path) -> None:
    """A second session that would need the same CPUs is refused after the stated time, and leaves nothing."""
    with rc.Session(RayPilot(cluster.address), nodes=2, run_dir=tmp_path / "one"):
        with pytest.raises(ResourceError, match="did not free 2 nodes"):
            rc.Session(RayPilot(cluster.address, placement_timeout_s=2), nodes=2, run_dir=tmp_path / "two")
        assert agents(tmp_path / "two") == []
