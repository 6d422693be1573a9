"""Autoformer over ranks: the lags that it chooses for a batch are those of the global batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from deeprc.communicator import Communicator


@contextmanager
def lags_of_global_batch(network: torch.nn.Module, comm: Communicator) -> Iterator[None]:
    """While it lasts, auto-correlation layers choose their lags with all ranks; with one rank nothing changes."""
    from neuralforecast.models.autoformer import AutoCorrelation

    layers = [layer for layer in network.modules() if isinstance(layer, AutoCorrelation)] if comm.size > 1 else []
    for layer in layers:
        vars(layer)["time_delay_agg_training"] = partial(_aggregate, layer.factor, comm.process_group)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["time_delay_agg_training"]


def _aggregate(factor: int, group: Any, values: torch.Tensor, correlation: torch.Tensor) -> torch.Tensor:
    """Values rolled by the lags that correlate best over the whole batch, weighted for each window. Collective.

    Both tensors are (windows, heads, channels, length). Wu et al. 2021, "Autoformer" (arXiv:2106.13008), eq. 6.
    """
    by_lag = correlation.mean(dim=(1, 2))
    # Which lags is a choice: no gradient flows through it.
    overall = by_lag.detach().mean(dim=0)
    dist.all_reduce(overall, group=group)
    lags = overall.topk(int(factor * math.log(values.shape[-1]))).indices
    weights = by_lag[:, lags].softmax(dim=-1)
    rolled = torch.stack([values.roll(-int(lag), dims=-1) for lag in lags], dim=-1)
    return (rolled * weights[:, None, None, None, :]).sum(dim=-1)
