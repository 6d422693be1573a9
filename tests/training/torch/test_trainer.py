"""Lightning over the ranks of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import deeprc as rc
from deeprc import journal
from deeprc.bridge import Dataset
from deeprc.communicator import SoloCommunicator
from deeprc.errors import CommunicatorError, SpecError
from deeprc.training.torch import StepSampler, trainer
from tests.ranks import run_on_ranks
from tests.training.stopped import stopped_and_resumed
from tests.training.torch.regression import (
    SAMPLES,
    samples_seen,
    train_on_windows,
    train_with_batch_norm,
    train_with_distributed_sampler,
    train_with_step_sampler,
)

TOLERANCE = 1e-5


@pytest.mark.parametrize("train", [train_with_step_sampler, train_with_distributed_sampler])
def test_two_ranks_give_the_weights_of_one(train: Any) -> None:
    """With the same global batches, two ranks end with the weights of one, to 1e-5."""
    alone = train(SoloCommunicator())
    first, second = run_on_ranks(train, size=2)
    assert first == second
    assert first == pytest.approx(alone, rel=TOLERANCE, abs=TOLERANCE)


@pytest.mark.parametrize("size", [2, 4])
def test_batch_normalisation_is_over_the_global_batch(size: int) -> None:
    """`sync_batchnorm=True` on CPUs: any ranks end with one rank's weights and running statistics, to 1e-5."""
    alone = train_with_batch_norm(SoloCommunicator())
    first, *others = run_on_ranks(train_with_batch_norm, size=size)
    assert all(other == first for other in others)
    assert first == pytest.approx(alone, rel=TOLERANCE, abs=TOLERANCE)


def test_windows_of_a_dataset_train_alike_on_two_ranks() -> None:
    """Trained on windows that the bridge splits, two ranks end with the weights of one, to 1e-5."""
    dataset = Dataset.from_polars(pl.DataFrame({"y": np.sin(np.arange(90.0))}))
    first, second = run_on_ranks(train_on_windows, dataset, size=2)
    assert first == second
    assert first == pytest.approx(train_on_windows(SoloCommunicator(), dataset), rel=TOLERANCE, abs=TOLERANCE)


def test_lightning_gives_each_rank_its_part_of_a_plain_loader() -> None:
    """A DataLoader that knows nothing of ranks is split: two ranks together see each sample once."""
    first, second = run_on_ranks(samples_seen, size=2)
    assert sorted(first + second) == list(range(SAMPLES))


def test_training_leaves_the_group_of_the_task_open() -> None:
    """After Lightning's fit the communicator still works: its group was neither replaced nor ended."""
    assert run_on_ranks(_train_then_gather, size=2) == [[0, 1], [0, 1]]


def _train_then_gather(comm: rc.Communicator) -> list[int]:
    before = comm.process_group
    train_with_step_sampler(comm)
    assert comm.process_group is before
    return comm.all_gather(comm.rank)


def test_rank_zero_is_the_rank_zero_of_the_task_at_hand() -> None:
    """A warm rank that was rank 1 is Lightning's rank zero in a later task of its own."""
    assert run_on_ranks(_lightning_ranks, size=2) == [(0, 0), (1, 0)]


def _lightning_ranks(comm: rc.Communicator) -> tuple[int, int]:
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    train_with_step_sampler(comm)
    with_others = rank_zero_only.rank
    train_with_step_sampler(SoloCommunicator())
    return with_others, rank_zero_only.rank


def test_several_ranks_need_a_torch_group() -> None:
    """On an MPI communicator of two ranks the trainer refuses and says which communicator to ask for."""
    assert all("gloo" in message for message in run_on_ranks(_refusal, size=2, backend="mpi"))


def _refusal(comm: rc.Communicator) -> str:
    try:
        trainer(comm)
    except CommunicatorError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["accelerator", "devices", "num_nodes", "strategy"])
def test_what_the_task_decides_is_refused(name: str) -> None:
    """Lightning's own ways to choose devices and processes do not apply, and are refused by name."""
    with pytest.raises(SpecError, match=name):
        trainer(**{name: "auto"})


def test_the_journal_hears_of_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training reports its steps, the last one included."""
    heard: list[dict[str, Any]] = []
    monkeypatch.setattr(journal.recorder, "_sink", lambda kind, fields: heard.append({"kind": kind, **fields}))
    train_with_step_sampler(SoloCommunicator())
    assert heard[-1]["kind"] == "progress"
    assert heard[-1]["done"] == heard[-1]["total"]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_shares_of_a_batch_make_the_batch(size: int) -> None:
    """The ranks' shares of each step are equally long and together are the one-rank batch, for any ranks."""
    whole = list(StepSampler(10, batch_size_global=8, steps=5, seed=3))
    shares = [list(StepSampler(10, batch_size_global=8, steps=5, seed=3, rank=r, size=size)) for r in range(size)]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert {len(part) for part in parts} == {8 // size}
        assert sorted(number for part in parts for number in part) == sorted(batch)


def test_every_sample_is_seen_once_a_pass() -> None:
    """Consecutive passes each hold every sample exactly once."""
    numbers = [n for batch in StepSampler(6, batch_size_global=4, steps=3, seed=0) for n in batch]
    assert sorted(numbers[:6]) == sorted(numbers[6:]) == list(range(6))


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    """The refusal names batch sizes that fit."""
    with pytest.raises(SpecError, match="use 30 or 33"):
        StepSampler(10, batch_size_global=32, steps=1, seed=0, size=3)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(
    ("train", "said"),
    [
        (train_with_step_sampler, "after 8 training steps"),
        # Sixteen steps of four batches a pass: the end of the second.
        (train_with_distributed_sampler, "after 8 training steps"),
    ],
)
def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path, train: Any, said: str, size: int) -> None:
    """In mid-epoch, where the sampler can begin there, else at the end of one; told to rank 0, all ranks stop."""
    asked = 1 if train is train_with_step_sampler else 2
    for told, weights in run_on_ranks(stopped_and_resumed, train, str(tmp_path), asked, size=size):
        assert told == said
        assert weights == pytest.approx(train(SoloCommunicator()), rel=TOLERANCE, abs=TOLERANCE)
