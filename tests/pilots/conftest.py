"""Sites that the tests of pilots bring up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pilots.sites import site
from tests.pilots.slurm_cluster import SlurmCluster, slurm_cluster

__all__ = ["site"]


@pytest.fixture(scope="package")
def running_cluster() -> Iterator[SlurmCluster]:
    """Slurm with two virtual nodes of two cores and two pretended GPUs."""
    with slurm_cluster(nodes=2) as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """That Slurm as this process and its children see it from a login node; free at the start and at the end."""
    for name, value in running_cluster.environment.items():
        monkeypatch.setenv(name, value)
    running_cluster.wait_until_idle()
    yield running_cluster
    running_cluster.cancel_all()
