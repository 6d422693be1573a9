"""Batch normalisation over the global batch, on CPUs as well."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.plugins import LayerSync
from torch.nn.modules.batchnorm import _BatchNorm


class GlobalBatchNorm(LayerSync):
    """Lightning's `sync_batchnorm=True` over a torch group of any backend: `torch.nn.SyncBatchNorm` wants GPUs.

    While a model is fitted, its batch normalisation layers take mean and variance over the batches of all ranks.
    The layers themselves stay what they are, and so do the names and values in a checkpoint.
    """

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group

    def apply(self, model: torch.nn.Module) -> torch.nn.Module:
        """Have each batch normalisation layer ask all ranks."""
        for layer in _layers(model):
            vars(layer)["forward"] = partial(_forward, layer, self.group)
        return model

    def revert(self, model: torch.nn.Module) -> torch.nn.Module:
        """Give each layer its own `forward` back."""
        for layer in _layers(model):
            vars(layer).pop("forward", None)
        return model


class SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over the ranks of a group; gradients are summed likewise. Collective, both ways."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
        """The sum, the same on every rank."""
        ctx.group = group
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Each rank's part in the sum is a part in every rank's loss."""
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total, None


def sum_over_ranks(tensor: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
    """The sum of `tensor` over the ranks of `group`, through which gradients flow. Collective."""
    total: torch.Tensor = SumOverRanks.apply(tensor, group)  # type: ignore[no-untyped-call]
    return total


def _layers(model: torch.nn.Module) -> list[_BatchNorm]:
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]


def _forward(layer: _BatchNorm, group: dist.ProcessGroup, batch: torch.Tensor) -> torch.Tensor:
    """`batch` (samples, channel, ...) normalised; outside training as the layer does it itself."""
    if not layer.training:
        return type(layer).forward(layer, batch)
    layer._check_input_dim(batch)  # type: ignore[no-untyped-call]
    over = [axis for axis in range(batch.dim()) if axis != 1]
    shape = [1, -1, *[1] * (batch.dim() - 2)]
    mine = torch.cat([batch.sum(over), batch.new_tensor([batch.numel() / batch.shape[1]])])
    total = sum_over_ranks(mine, group)
    count = total[-1].detach()
    mean = total[:-1] / count
    # From differences, not as E[x^2] - mean^2, which loses its digits where the mean is large.
    variance = sum_over_ranks((batch - mean.view(shape)).square().sum(over), group) / count
    _remember(layer, mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
    normal = (batch - mean.view(shape)) * torch.rsqrt(variance + layer.eps).view(shape)
    if layer.weight is not None:
        normal = normal * layer.weight.view(shape)
    return normal if layer.bias is None else normal + layer.bias.view(shape)


def _remember(layer: _BatchNorm, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Take the batch into the running statistics, as torch's own layers do: the unbiased variance."""
    if not layer.track_running_stats or layer.num_batches_tracked is None:
        return
    layer.num_batches_tracked.add_(1)
    momentum = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked)
    for running, value in ((layer.running_mean, mean), (layer.running_var, variance)):
        if running is not None:
            running.lerp_(value.to(running.dtype), momentum)
