"""A Lightning trainer for the ranks of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import MissingDependencyError, SpecError

if TYPE_CHECKING:
    import pytorch_lightning as lightning

IMPORTS = (
    "torch",
    "torch._dynamo",
    "torch.nn.parallel.distributed",
    "pytorch_lightning",
    "deeprc.training.torch.strategy",
    "deeprc.training.torch.batch_norm",
    "deeprc.training.torch.progress",
    "deeprc.training.torch.batches",
    "deeprc.training.torch.resume",
)
"""Modules worth loading before a rank that trains is forked: imports only, no operation.

torch._dynamo is loaded by the first optimizer of a process, which takes about a second.
"""

QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def trainer(
    comm: Communicator | None = None, *, find_unused_parameters: bool = False, **options: Any
) -> lightning.Trainer:
    """A trainer under which any LightningModule trains on the ranks of the task. Collective.

    Each rank calls `fit` with the same module and data. Lightning gives each rank its part of a DataLoader
    (shuffled anew, unless `use_distributed_sampler=False` or the loader has a DistributedSampler of its own),
    so a global batch is `batch_size` of the DataLoader times the ranks; `StepSampler` splits a batch instead.
    Steps are reported to the run's journal, from rank 0. Logger, checkpoints, progress bar and summary are off
    unless asked for.

    When the run stops (`deeprc.stopping()`), `fit` writes a checkpoint at the end of the epoch, or of the step with a
    `StepSampler`, and raises `TaskStoppedError`; `fit` of a retry, or of a resumed run, goes on from there. Trainers of
    one task have their checkpoints by the order in which they are made.

    Args:
        comm: the task's communicator; None, or one rank, trains in this process alone.
        find_unused_parameters: needed where some parameter has no part in the loss (`DistributedDataParallel`).
        options: of `pytorch_lightning.Trainer`, except accelerator, devices, num_nodes and strategy. With
            `sync_batchnorm=True` batch normalisation is over the global batch, on CPUs too.

    Raises:
        SpecError: an option that the task decides.
        MissingDependencyError: pytorch-lightning is not installed.
        CommunicatorError: several ranks without a torch group: submit the task with comm="gloo" or "nccl".
    """
    for name in ("accelerator", "devices", "num_nodes", "strategy"):
        if name in options:
            raise SpecError(f"{name}={options[name]!r}: the task decides; choose ranks, gpus and comm at submit")
    try:
        import torch

        from deeprc.training.torch.batch_norm import GlobalBatchNorm
        from deeprc.training.torch.environment import RankEnvironment, set_lightning_rank
        from deeprc.training.torch.progress import JournalProgress
        from deeprc.training.torch.resume import RankTrainer, StopsInTime
        from deeprc.training.torch.strategy import RankStrategy
    except ImportError as error:
        raise MissingDependencyError("training needs Lightning: pip install 'deeprc[torch]'") from error

    comm = comm or SoloCommunicator()
    set_lightning_rank(comm.rank)
    stops = StopsInTime(comm)
    callbacks = [*(options.pop("callbacks", None) or []), JournalProgress(), stops]
    on_gpu = torch.cuda.is_available() if comm.size == 1 else comm.backend == "nccl"
    placed: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "num_nodes": 1}
    if on_gpu:
        placed.update(accelerator="cuda", devices=[torch.cuda.current_device()])
    if comm.size == 1:
        # Named, so that Lightning does not look for a cluster: its search starts MPI in this process.
        placed.update(strategy="auto", plugins=[RankEnvironment(comm), *(options.pop("plugins", None) or [])])
    else:
        strategy = RankStrategy(comm, find_unused_parameters=find_unused_parameters)
        if not on_gpu and options.pop("sync_batchnorm", False):
            options["plugins"] = [GlobalBatchNorm(comm.process_group), *(options.get("plugins") or [])]
        placed.update(strategy=strategy, num_nodes=comm.size)
    made: lightning.Trainer = RankTrainer(stops.path, **{**QUIET, **options}, **placed, callbacks=callbacks)
    return made
