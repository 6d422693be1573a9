"""Data-parallel training over the group that the task already has."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy

from deeprc.communicator import Communicator
from deeprc.training.torch.environment import RankEnvironment, set_lightning_rank


class RankStrategy(DDPStrategy):
    """Lightning's DDP over `comm.process_group`: it starts no process, and neither makes nor ends a group.

    Ranks may lie unevenly on nodes: Lightning's own arithmetic (ranks = nodes x devices) is not used.

    Raises:
        CommunicatorError: `comm` has no torch group (submit the task with comm="gloo" or "nccl").
    """

    def __init__(self, comm: Communicator, **ddp_options: Any) -> None:
        super().__init__(
            cluster_environment=RankEnvironment(comm),
            process_group_backend=comm.backend,
            process_group=comm.process_group,
            **ddp_options,
        )

    @property
    def root_device(self) -> torch.device:
        # One device a rank, whatever its place on the node.
        assert self.parallel_devices is not None
        return self.parallel_devices[0]

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        return {"num_replicas": self.world_size, "rank": self.global_rank}

    def set_world_ranks(self) -> None:
        set_lightning_rank(self.global_rank)
