"""Tells Lightning which rank this process is; the ranks exist already and have met."""

from __future__ import annotations

import socket

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.utilities.rank_zero import rank_zero_only as fabric_rank_zero_only
from lightning_utilities.core.rank_zero import rank_zero_only

from deeprc.communicator import Communicator


class RankEnvironment(ClusterEnvironment):
    """The ranks of one task as Lightning's cluster. Building it is collective over `comm`.

    It keeps numbers only, never the communicator, since Lightning copies and pickles its plugins.
    """

    def __init__(self, comm: Communicator) -> None:
        super().__init__()
        hosts = comm.all_gather(socket.gethostname())
        self._global_rank = comm.rank
        self._world_size = comm.size
        self._local_rank = hosts[: comm.rank].count(hosts[comm.rank])
        self._node_rank = list(dict.fromkeys(hosts)).index(hosts[comm.rank])

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        raise RuntimeError("the ranks of a task met through its private store; there is no address to dial")

    @property
    def main_port(self) -> int:
        raise RuntimeError("the ranks of a task met through its private store; there is no port to dial")

    @staticmethod
    def detect() -> bool:
        # Never chosen by itself: `trainer` passes it.
        return False

    def world_size(self) -> int:
        return self._world_size

    def set_world_size(self, size: int) -> None:
        """Nothing to set: the task's size is fixed."""

    def global_rank(self) -> int:
        return self._global_rank

    def set_global_rank(self, rank: int) -> None:
        """Nothing to set: the task's ranks are fixed."""

    def local_rank(self) -> int:
        return self._local_rank

    def node_rank(self) -> int:
        return self._node_rank


def set_lightning_rank(rank: int) -> None:
    """Say which rank this process is where Lightning keeps it for the process's life, not a trainer's.

    A warm rank serves one task after another: what is done on rank 0 only must follow the task at hand.
    """
    for rank_zero in (rank_zero_only, fabric_rank_zero_only):
        rank_zero.rank = rank  # type: ignore[attr-defined]
