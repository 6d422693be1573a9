"""A small regression that any number of ranks trains alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeprc.training.torch import StepSampler, trainer

if TYPE_CHECKING:
    from deeprc.bridge import Dataset
    from deeprc.communicator import Communicator

SAMPLES, BATCH, STEPS = 64, 16, 12


def train_with_step_sampler(comm: Communicator) -> list[float]:
    """Weights after training on shuffled global batches that `StepSampler` splits."""
    from torch.utils.data import DataLoader

    sampler = StepSampler(SAMPLES, batch_size_global=BATCH, steps=STEPS, seed=5, rank=comm.rank, size=comm.size)
    loader: Any = DataLoader(_data(), sampler=sampler, batch_size=None)
    return _train(comm, loader, use_distributed_sampler=False)


def train_with_distributed_sampler(comm: Communicator) -> list[float]:
    """Weights after training on consecutive batches that torch's DistributedSampler splits."""
    from torch.utils.data import DataLoader, DistributedSampler

    data = _data()
    sampler: Any = DistributedSampler(data, num_replicas=comm.size, rank=comm.rank, shuffle=False)
    return _train(comm, DataLoader(data, batch_size=BATCH // comm.size, sampler=sampler))


def train_on_windows(comm: Communicator, dataset: Dataset) -> list[float]:
    """Weights after training on the windows of a Dataset, which the bridge splits."""
    windows = dataset.windows(target="y", lookback=4, horizon=1, rank=comm.rank, size=comm.size)
    return _train(comm, windows.to_torch_loader(BATCH, seed=3), use_distributed_sampler=False)


def train_with_batch_norm(comm: Communicator) -> list[float]:
    """Weights and running statistics after training a model with batch normalisation over the global batch."""
    from torch.utils.data import DataLoader

    sampler = StepSampler(SAMPLES, batch_size_global=BATCH, steps=STEPS, seed=5, rank=comm.rank, size=comm.size)
    loader: Any = DataLoader(_data(), sampler=sampler, batch_size=None)
    return _train(comm, loader, normalised=True, use_distributed_sampler=False, sync_batchnorm=True)


def samples_seen(comm: Communicator) -> list[int]:
    """Numbers of the samples that this rank trained on in one pass, the DataLoader left to Lightning."""
    import torch
    from torch.utils.data import DataLoader

    seen: list[int] = []

    def collate(rows: list[Any]) -> Any:
        seen.extend(number for number, _, _ in rows)
        return [torch.stack(column) for column in list(zip(*rows, strict=True))[1:]]

    inputs, targets = _data().tensors
    rows: Any = [(number, inputs[number], targets[number]) for number in range(SAMPLES)]
    _train(comm, DataLoader(rows, batch_size=8, collate_fn=collate), max_steps=SAMPLES // 8 // comm.size)
    return seen


def _data() -> Any:
    import torch
    from torch.utils.data import TensorDataset

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, 4, generator=generator)
    return TensorDataset(inputs, inputs.sum(dim=1, keepdim=True).sin())


def _train(comm: Communicator, loader: Any, normalised: bool = False, **options: Any) -> list[float]:
    import pytorch_lightning as lightning
    import torch

    class Regression(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            # No bias where it would be normalised away: its gradient is rounding, which Adam scales up.
            first = torch.nn.Linear(4, 8, bias=not normalised)
            norm = torch.nn.BatchNorm1d(8) if normalised else torch.nn.Identity()
            self.net = torch.nn.Sequential(first, norm, torch.nn.Tanh(), torch.nn.Linear(8, 1))

        def training_step(self, batch: Any, _: int) -> Any:
            return torch.nn.functional.mse_loss(self.net(batch[0].flatten(1)), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-2)

    torch.manual_seed(7)
    module = Regression()
    trainer(comm, **{"max_steps": STEPS, **options}).fit(module, loader)
    assert not any("forward" in vars(layer) for layer in module.net.modules())
    return [value for state in module.state_dict().values() for value in state.flatten().tolist()]
