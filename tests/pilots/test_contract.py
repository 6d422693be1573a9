"""The contract that every pilot keeps: nodes, agents, gangs across nodes, news of their loss, nothing left behind."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deeprc as rc
from deeprc.errors import AgentLostError, RankDiedError, ResourceError, SpecError, TaskFailedError, TaskTimeoutError
from deeprc.journal import read_run
from deeprc.pilots.leases import DIRECTORY_VARIABLE, holders
from deeprc.pilots.radical import RadicalPilot
from deeprc.runtime.pilot import chosen_pilot, pilots
from tests.pilots.sites import SITES, Site, processes_of, shared_memory_of
from tests.runtime import faults

TASK_S = 120.0
"""How long a task may take in these tests, imports on a loaded machine included."""


def test_pilots_under_this_contract_are_installed() -> None:
    """A new pilot joins by its entry point and by its class in sites.py."""
    assert set(SITES) <= set(pilots())


def test_an_unknown_pilot_names_the_valid_ones() -> None:
    """Before anything is started."""
    with pytest.raises(SpecError, match=r"Valid pilots: .*local"):
        chosen_pilot("lokal")


def test_a_site_may_follow_the_pilots_name() -> None:
    """Where the pilot has several; one that has not refuses it."""
    assert isinstance(chosen_pilot("radical:ncsa.delta"), RadicalPilot)
    with pytest.raises(SpecError, match=r"'local' has one site only: write 'local' without 'elsewhere'"):
        chosen_pilot("local:elsewhere")


def places(session: rc.Session, task: str) -> list[dict[str, Any]]:
    """Where the journal says that the ranks of a task's last attempt ran."""

    def started() -> list[dict[str, Any]]:
        return [event for event in read_run(session.run_directory).of_kind("task.started") if event["task"] == task]

    # What runs is written down at the end of a turn of the driver's loop.
    assert faults.wait_until(lambda: bool(started()), timeout_s=TASK_S)
    ranks: list[dict[str, Any]] = started()[-1]["ranks"]
    return ranks


@pytest.fixture(scope="module")
def shared(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rc.Session]:
    """Two nodes of two cores, for all tests that leave them whole: some sites take a minute to give them."""
    session = site.session(tmp_path_factory.mktemp("site") / "shared", nodes=2, cores=2)
    yield session
    # Not the session as a context manager: after a failed test nothing is waited for.
    session.close()


def exchange(comm: rc.Communicator, megabytes: int) -> tuple[int, list[tuple[int, int, int]], float]:
    """Bytes that differ for each pair of ranks, then a reduction, then everyone's process id."""
    outgoing = [np.full(megabytes << 20, 16 * comm.rank + peer, np.uint8).data for peer in range(comm.size)]
    incoming = [np.asarray(view) for view in comm.all_to_all(outgoing)]
    seen = [(view.nbytes, int(view.min()), int(view.max())) for view in incoming]
    total = comm.all_reduce(np.arange(1000.0) + comm.rank).sum()
    return len(set(comm.all_gather(os.getpid()))), seen, float(total)


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_a_gang_spans_nodes(shared: rc.Session, comm: Any) -> None:
    """Three ranks on two nodes of two cores: all bytes arrive, and the journal says where they ran."""
    future = shared.submit(exchange, 4, ranks=3, comm=comm)
    processes, seen, total = future.result(timeout=TASK_S)
    assert processes == 3
    assert seen == [(4 << 20, 16 * peer, 16 * peer) for peer in range(3)]
    assert total == 3 * sum(range(1000)) + 3 * 1000
    where = places(shared, future.task)
    assert [place["rank"] for place in where] == [0, 1, 2]
    assert sorted(Counter(place["node"] for place in where).values()) == [1, 2]
    started = read_run(shared.run_directory).first("run.started")
    assert started
    assert {place["node"] for place in where} == {node["name"] for node in started["nodes"]}


def test_what_all_nodes_together_lack_is_refused(shared: rc.Session) -> None:
    """Five ranks on two nodes of two cores, at submit."""
    with pytest.raises(ResourceError, match="2 nodes of this session have 4"):
        shared.submit(exchange, 1, ranks=5)


def pids(comm: rc.Communicator) -> list[int]:
    return comm.all_gather(os.getpid())


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_ranks_stay_warm_across_nodes(shared: rc.Session, comm: Any) -> None:
    """The next task of the same shape finds the same processes; an isolated one does not."""
    first = shared.submit(pids, ranks=3, comm=comm).result(timeout=TASK_S)
    second = shared.submit(pids, ranks=3, comm=comm).result(timeout=TASK_S)
    alone = shared.submit(pids, ranks=3, comm=comm, isolated=True).result(timeout=TASK_S)
    third = shared.submit(pids, ranks=3, comm=comm).result(timeout=TASK_S)
    assert set(first) == set(second) == set(third)
    assert set(alone).isdisjoint(first)


def sharing(comm: rc.Communicator) -> list[int]:
    from mpi4py import MPI

    return comm.all_gather(comm.mpi.Split_type(MPI.COMM_TYPE_SHARED).size)


def test_mpi_knows_which_ranks_share_a_node(shared: rc.Session) -> None:
    """Shared memory within a node, the network between them."""
    assert sorted(shared.submit(sharing, ranks=3, comm="mpi").result(timeout=TASK_S)) == [1, 2, 2]


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
@pytest.mark.parametrize("rank", [0, 2])
def test_a_death_is_blamed_across_nodes(shared: rc.Session, comm: Any, rank: int) -> None:
    """A killed rank on either node, not the peers that then raise on the other; the next task runs."""
    with pytest.raises(RankDiedError, match=f"rank {rank} on .*SIGKILL") as caught:
        shared.submit(faults.die_on, rank, "SIGKILL", ranks=3, comm=comm).result(timeout=TASK_S)
    assert f"rank {rank} was here" in caught.value.output
    assert shared.submit(faults.die_on, 9, "SIGKILL", ranks=3, comm=comm).result(timeout=TASK_S) is None


@pytest.mark.parametrize("rank", [0, 2])
def test_an_exception_ends_the_gang_on_all_nodes(shared: rc.Session, rank: int) -> None:
    """Peers on the other node wait in a collective, and are ended."""
    with pytest.raises(TaskFailedError, match=f"rank {rank} on .*deliberately on {rank}"):
        shared.submit(faults.raise_on, rank, ranks=3, comm="mpi").result(timeout=TASK_S)
    assert len(shared.submit(pids, ranks=4, comm="mpi").result(timeout=TASK_S)) == 4


def test_a_timeout_names_the_late_ranks_of_all_nodes(shared: rc.Session) -> None:
    """The clock starts when the last node's ranks run, and stops them all."""
    with pytest.raises(TaskTimeoutError, match=r"timeout of 1 s; ranks still running: \[0, 1, 2\]"):
        shared.submit(faults.die_on, 2, "hang", ranks=3, comm="mpi", timeout=1.0).result(timeout=TASK_S)


def test_cancel_frees_the_ranks_of_all_nodes(shared: rc.Session, tmp_path: Path) -> None:
    """A cancelled task's cores serve the next."""
    stuck = shared.submit(faults.announce_and_wait, str(tmp_path), ranks=4, comm="mpi")
    assert faults.wait_until(lambda: len(list(tmp_path.glob("rank?"))) == 4, timeout_s=TASK_S)
    stuck.cancel()
    assert len(shared.submit(pids, ranks=4, comm="mpi").result(timeout=TASK_S)) == 4


def wait_for(path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.02)
    return "went on"


def meet_the_second_time(comm: rc.Communicator, directory: str) -> int:
    """Wait in a collective for a rank that sleeps; succeed when started again."""
    mark = Path(directory) / f"rank{comm.rank}"
    again = all(comm.all_gather(mark.exists()))
    mark.touch()
    if not again and comm.rank == 0:
        time.sleep(600)
    comm.barrier()
    return comm.size


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_a_node_lost_in_mid_task(site: Site, tmp_path: Path, comm: Any) -> None:
    """What ran there fails, naming it; a gang that spans it is retried on what is left; the rest goes on."""
    with site.session(tmp_path / "run", nodes=2, cores=3) as session:
        kept = session.submit(wait_for, str(tmp_path / "release"), threads=2)
        lost = session.submit(time.sleep, 600, threads=2)
        spanning = session.submit(meet_the_second_time, str(tmp_path), ranks=2, comm=comm, retries=1)
        assert faults.wait_until(lambda: len(list(tmp_path.glob("rank?"))) == 2, timeout_s=TASK_S)
        [node] = {place["node"] for place in places(session, lost.task)}
        assert node in {place["node"] for place in places(session, spanning.task)}
        assert node not in {place["node"] for place in places(session, kept.task)}
        site.kill_agent(session, node)
        with pytest.raises(AgentLostError, match=f"node {node} is lost"):
            lost.result(timeout=TASK_S)
        (tmp_path / "release").touch()
        assert kept.result(timeout=60) == "went on"
        assert spanning.result(timeout=TASK_S) == 2
        assert node not in {place["node"] for place in places(session, spanning.task)}
        failures = list(read_run(tmp_path / "run").of_kind("task.failed"))
        assert {(event["error"], event["will_retry"]) for event in failures if event["task"] == spanning.task} == {
            ("AgentLostError", True)
        }
        with pytest.raises(ResourceError, match="has 3"):
            session.submit(pids, ranks=4, comm="mpi")
    assert faults.wait_until(lambda: site.leftovers(session) == [], timeout_s=90), site.leftovers(session)


def test_without_any_node_left_nothing_hangs(site: Site, tmp_path: Path) -> None:
    """Running and waiting tasks fail with the reason, and so do later ones."""
    with site.session(tmp_path / "run", nodes=1, cores=1) as session:
        running = session.submit(time.sleep, 600)
        waiting = session.submit(abs, -1)
        assert faults.wait_until(running.running, timeout_s=TASK_S)
        [node] = read_run(tmp_path / "run").first("run.started")["nodes"]  # type: ignore[index]
        assert faults.wait_until(lambda: read_run(tmp_path / "run").first("task.started") is not None, TASK_S)
        site.kill_agent(session, node["name"])
        with pytest.raises(AgentLostError, match=f"node {node['name']} is lost"):
            running.result(timeout=TASK_S)
        for future in (waiting, session.submit(abs, -1)):
            with pytest.raises(AgentLostError, match="no node is left"):
                future.result(timeout=60)


def affinity() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def test_cores_of_this_host_are_held_before_other_sessions(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks are on the cores that the ledger names, until the session ends; a batch system's nodes need none."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "ledger"))
    with site.session(tmp_path / "run", nodes=1, cores=1) as session:
        held = holders()
        if site.exclusive:
            assert held == {}
        else:
            assert held == {os.getpid(): tuple(session.submit(affinity).result(timeout=TASK_S))}
    assert holders() == {}


def test_close_leaves_nothing(site: Site, tmp_path: Path) -> None:
    """Closed while a gang runs on two nodes: no process, no shared memory, no key."""
    session = site.session(tmp_path / "run", nodes=2, cores=2)
    try:
        session.submit(faults.announce_and_wait, str(tmp_path), ranks=3, comm="mpi")
        assert faults.wait_until(lambda: len(list(tmp_path.glob("rank?"))) == 3, timeout_s=TASK_S)
        processes = processes_of(session)
        segments = shared_memory_of(processes)
        assert len(processes) >= 3
    finally:
        session.close()
    assert faults.wait_until(lambda: site.leftovers(session) == [], timeout_s=90), site.leftovers(session)
    assert not [segment for segment in segments if segment.exists()]
    assert not list((tmp_path / "run").glob(".connection*"))
