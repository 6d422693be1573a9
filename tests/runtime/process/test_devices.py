"""Ranks get the cores and GPUs that the scheduler has given them, and two sessions do not crowd the same cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import deeprc as rc
from deeprc.errors import ResourceError
from deeprc.journal import read_run
from deeprc.pilots.leases import CoreLease
from deeprc.runtime.process.devices import real_cores, real_gpus

OFFERED = sorted(os.sched_getaffinity(0))


def cores(comm: rc.Communicator) -> list[list[int]]:
    return comm.all_gather(sorted(os.sched_getaffinity(0)))


def gpus(comm: rc.Communicator) -> list[str]:
    return comm.all_gather(os.environ["CUDA_VISIBLE_DEVICES"])


@pytest.mark.skipif(len(OFFERED) < 2, reason="one core: nothing to choose")
def test_ranks_are_pinned_to_their_cores(tmp_path: Path) -> None:
    """One core for each thread of a rank, none of them another's; a warm rank moves with its slot."""
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        one, other = session.submit(cores, ranks=2, comm="mpi").result(timeout=60)
        assert {len(one), len(other)} == {1}
        assert one != other
        [both] = session.submit(cores, threads=2, comm="solo").result(timeout=60)
        assert both == sorted(one + other)


def test_ranks_that_share_cores_are_not_pinned(tmp_path: Path) -> None:
    """More cores than the machine has, by the user's wish."""
    with rc.Session(cores=len(OFFERED) + 2, run_dir=tmp_path / "run") as session:
        assert session.submit(cores, ranks=2, comm="mpi").result(timeout=60) == [OFFERED, OFFERED]


def test_gpus_are_given_by_visible_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank sees its own, on pretend nodes too; a task without any sees none."""
    monkeypatch.setenv("DEEPRC_PRETEND_GPUS", "4")
    with rc.Session(cores=2, nodes=2, run_dir=tmp_path / "run") as session:
        seen = session.submit(gpus, ranks=4, gpus=1, comm="mpi").result(timeout=60)
        assert sorted(seen) == ["0", "1", "2", "3"]
        assert session.submit(gpus, gpus=2, comm="solo").result(timeout=60) == ["0,1"]
        assert session.submit(gpus, comm="solo").result(timeout=60) == [""]
        with pytest.raises(ResourceError, match="2 nodes of this session have 4"):
            session.submit(gpus, ranks=2, gpus=3, comm="mpi")


def test_devices_have_the_names_that_the_site_gave_them() -> None:
    """A batch system may give others than the first; cores that do not match are not pinned."""
    assert real_gpus((1, 0), {"CUDA_VISIBLE_DEVICES": "5,GPU-7a"}) == ("GPU-7a", "5")
    assert real_gpus((1,), {}) == ("1",)
    assert real_cores(2, {"DEEPRC_CORES": "3,7"}) == (3, 7)
    assert real_cores(4, {"DEEPRC_CORES": ""}) == ()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "ledger"
    monkeypatch.setenv("DEEPRC_LEASES", str(directory))
    return directory


@pytest.mark.skipif(len(OFFERED) < 2, reason="one core: nothing to choose")
def test_a_second_session_takes_the_free_cores(ledger: Path, tmp_path: Path) -> None:
    """As many as the user says, and none of the first's while others are free; by default what is left."""
    with rc.Session(cores=1, run_dir=tmp_path / "a") as first, rc.Session(run_dir=tmp_path / "b") as second:
        [mine], [theirs] = (s.submit(cores, comm="solo").result(timeout=60) for s in (first, second))
        assert set(mine).isdisjoint(theirs)
        started = read_run(tmp_path / "b").first("run.started")
        assert started and started["nodes"][0]["cores"] == len(OFFERED) - 1
        [warning] = read_run(tmp_path / "b").of_kind("warning")
        assert "(this process)" in warning["message"]
    assert json.loads((ledger / "cores.json").read_text()) == {}
    assert ledger.stat().st_mode & 0o777 == 0o700
    with rc.Session(run_dir=tmp_path / "c"):
        started = read_run(tmp_path / "c").first("run.started")
        assert started and started["nodes"][0]["cores"] == len(OFFERED)


def test_there_is_always_one_core(ledger: Path) -> None:
    """With all cores held; and what the user asks for is given."""
    first, second, third = CoreLease(len(OFFERED)), CoreLease(None), CoreLease(len(OFFERED))
    assert first.cores == tuple(OFFERED)
    assert second.count == 1
    assert third.count == len(OFFERED)
    for lease in (first, second, third):
        lease.release()


def test_the_dead_hold_nothing(ledger: Path) -> None:
    """Neither a killed session nor a file cut short stands in the way."""
    code = "from deeprc.pilots.leases import CoreLease; import os; CoreLease(None); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert json.loads((ledger / "cores.json").read_text())
    lease = CoreLease(None)
    assert lease.cores == tuple(OFFERED)
    lease.release()
    (ledger / "cores.json").write_text('{"cut')
    assert CoreLease(None).cores == tuple(OFFERED)
