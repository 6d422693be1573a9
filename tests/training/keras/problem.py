"""A small regression that an LSTM learns, the same in every process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from deeprc.communicator import Communicator
from deeprc.training.keras import Batches, Training, fit, load_keras


@dataclass(frozen=True)
class Trained:
    """What one rank has after training."""

    weights: tuple[Any, ...]
    training: Training


def series(samples: int = 101, seed: int = 0) -> tuple[Any, Any]:
    """Windows (sample, 8 days, 2 columns) whose target is a weighted sum of the last days' first column."""
    inputs = np.random.default_rng(seed).normal(size=(samples, 8, 2)).astype(np.float32)
    return inputs, (inputs[:, -3:, 0] @ np.array([0.2, 0.3, 0.5], np.float32))[:, None]


def network(seed: int = 1) -> Any:
    """A small LSTM with weights that follow from the seed."""
    _, keras = load_keras()
    keras.utils.set_random_seed(seed)
    days = keras.Input((8, 2))
    return keras.Model(days, keras.layers.Dense(1)(keras.layers.LSTM(8)(days)))


def train(comm: Communicator, epochs: int = 3, batch_size: int = 20, seed: int = 1) -> Trained:
    """Train on all ranks; rank r starts from weights of its own, so that rank 0's must be taken by all."""
    _, keras = load_keras()
    model = network(seed + comm.rank)
    validation = Batches.of(*series(31, seed=9), batch_size=16)
    training = fit(
        model,
        Batches.of(*series(), batch_size, seed=5),
        comm,
        optimizer=keras.optimizers.Adam(1e-2, global_clipnorm=1.0),
        epochs=epochs,
        validation=validation,
    )
    return Trained(tuple(model.get_weights()), training)
