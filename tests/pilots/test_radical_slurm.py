"""RADICAL-Pilot with a real Slurm below it: its job holds the nodes, srun starts our agent on each."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

import deeprc as rc
from deeprc.errors import AgentLostError
from deeprc.journal import read_run
from tests.pilots.sites import processes_of
from tests.pilots.slurm_cluster import SlurmCluster
from tests.runtime import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def resource(cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The cluster as a resource of RADICAL-Pilot, in a configuration file as its users write them."""
    here = f"export SLURM_CONF={cluster.folder}/slurm.conf"
    described = {
        "default_schema": "local",
        "schemas": {
            "local": {"job_manager_endpoint": "slurm://localhost/", "filesystem_endpoint": "file://localhost/"}
        },
        "default_remote_workdir": str(tmp_path),
        "default_queue": "debug",
        "resource_manager": "SLURM",
        "agent_scheduler": "CONTINUOUS",
        "agent_spawner": "POPEN",
        "agent_config": "default",
        # PSI/J submits with --export=NONE: what a job needs of its environment is said here.
        "pre_bootstrap_0": [here],
        "launch_methods": {"order": ["SRUN"], "SRUN": {"pre_exec_cached": [here]}},
        "rp_version": "installed",
        "virtenv_mode": "local",
        "python_dist": "default",
        "cores_per_node": cluster.cpus,
    }
    file = tmp_path / ".radical" / "pilot" / "configs" / "resource_loopback.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"slurm": described}))
    monkeypatch.setenv("RADICAL_CONFIG_USER_DIR", str(tmp_path))
    return "loopback.slurm"


def pids(comm: rc.Communicator) -> list[int]:
    return comm.all_gather(os.getpid())


def test_gangs_span_the_nodes_of_a_job_and_its_end_is_noticed(
    cluster: SlurmCluster, resource: str, tmp_path: Path
) -> None:
    """One job of two nodes, an agent on each; cancelled by someone else, what ran on it fails, and nothing is left."""
    with rc.Session(f"radical:{resource}", nodes=2, run_dir=tmp_path / "run") as session:
        [job] = cluster.jobs()
        for comm in ("mpi", "gloo"):
            future = session.submit(pids, ranks=3, comm=comm, name=comm)  # type: ignore[arg-type]
            assert len(set(future.result(timeout=120))) == 3
        started = {event["task"]: event["ranks"] for event in read_run(session.run_directory).of_kind("task.started")}
        for ranks in started.values():
            assert sorted(Counter(rank["node"] for rank in ranks).values()) == [1, 2]
        stuck = session.submit(time.sleep, 600)
        assert faults.wait_until(stuck.running, timeout_s=60)
        cluster.command("scancel", job)
        with pytest.raises(AgentLostError, match="is lost"):
            stuck.result(timeout=120)
    assert faults.wait_until(lambda: cluster.jobs() == [])
    assert faults.wait_until(lambda: processes_of(session) == [], timeout_s=90), processes_of(session)
    assert not (tmp_path / "run" / "radical").exists()
