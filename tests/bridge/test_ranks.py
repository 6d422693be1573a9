"""Datasets that several ranks write and read at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import deeprc as rc
from deeprc.bridge import Dataset
from tests.ranks import run_on_ranks


def _write_and_read(comm: rc.Communicator) -> tuple[Dataset, list[int], bool]:
    dataset = Dataset.from_polars(pl.DataFrame({"row": np.arange(comm.rank) + 10 * comm.rank}), comm=comm)
    complete = Path(dataset.manifest).exists() and Dataset.open(dataset.manifest) == dataset
    return dataset, dataset.to_polars()["row"].to_list(), complete


@pytest.mark.parametrize("backend", ["gloo", "mpi"])
def test_every_rank_gets_the_whole_dataset(backend: str) -> None:
    """Each writes its part, and none returns before all parts and the manifest are there."""
    results = run_on_ranks(_write_and_read, size=3, backend=backend)
    dataset = results[0][0]
    assert [part.rank for part in dataset.parts] == [0, 1, 2]
    assert all(result == (dataset, [10, 20, 21], True) for result in results)
    assert Dataset.merge([result[0] for result in results]) == dataset


def _fail_on_one(comm: rc.Communicator, failing: str) -> tuple[str, list[str]]:
    frames: dict[str, Any] = {
        "objects": pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}),
        "query": pl.LazyFrame({"a": [1]}).select("b"),
        "columns": pl.DataFrame({"a": ["text"]}),
    }
    comm.barrier()
    try:
        Dataset.from_polars(frames[failing] if comm.rank == 1 else pl.DataFrame({"a": [1]}), name=failing, comm=comm)
    except rc.DeepRCError as error:
        comm.barrier()
        return str(error), [path.name for path in rc.bridge.dataset_root().glob(f"{failing}*")]
    return "no error", []


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ("objects", "rank 1: .* Python objects"),
        ("query", "rank 1: .*b"),
        ("columns", "rank 0 has .*Int64.* rank 1 has .*String"),
    ],
)
def test_one_rank_that_cannot_write_fails_all(failing: str, expected: str) -> None:
    """All ranks raise the same error, none waits for ever, and no part is left."""
    results = run_on_ranks(_fail_on_one, failing, size=2)
    assert results[0] == results[1]
    assert results[0][1] == []
    with pytest.raises(rc.DeepRCError, match=expected):
        raise rc.DeepRCError(results[0][0])


def _targets(comm: rc.Communicator, dataset: Dataset) -> list[float]:
    windows = dataset.windows(target="flow", lookback=2, horizon=1, rank=comm.rank, size=comm.size)
    return [float(target) for _, targets in windows.batches(6, seed=1) for target in targets[:, 0]]


def _dataset(comm: rc.Communicator) -> Dataset:
    return Dataset.from_polars(pl.DataFrame({"flow": np.arange(10.0) + 10 * comm.rank}), comm=comm)


def test_a_task_reads_what_another_wrote(session: rc.Session) -> None:
    """Two ranks write, three read it mapped, and train on the batches that one would."""
    written = session.submit(_dataset, ranks=2, comm="mpi")
    shared = session.submit(_gathered, written, ranks=3, comm="gloo").result(timeout=120)
    alone = session.submit(_gathered, written, ranks=1).result(timeout=120)[0]
    batches = zip(*(np.reshape(targets, (-1, 2)) for targets in shared), strict=True)
    np.testing.assert_array_equal(np.concatenate([np.concatenate(batch) for batch in batches]), alone)
    assert written.result().parts[0].path.startswith(str(session.run_directory))


def _gathered(comm: rc.Communicator, dataset: Dataset) -> list[list[float]]:
    return comm.all_gather(_targets(comm, dataset))
