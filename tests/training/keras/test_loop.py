"""The training loop on one rank and on several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprc import journal
from deeprc.communicator import SoloCommunicator
from deeprc.errors import DataError, SpecError
from deeprc.training.keras import Batches, fit, load_keras
from tests.training.keras.problem import Trained, network, series, train
from tests.training.keras.ranks import run_on_tensorflow_ranks
from tests.training.stopped import stopped_and_resumed


def sgd(rate: float = 0.01) -> Any:
    _, keras = load_keras()
    return keras.optimizers.SGD(rate)


def test_it_learns() -> None:
    """The loss of a problem that an LSTM can solve falls to a fraction of its variance."""
    losses = [epoch.loss for epoch in train(SoloCommunicator(), epochs=20).training.epochs]
    assert losses[-1] < 0.25 * losses[0]


@pytest.fixture(scope="module")
def alone() -> Trained:
    return train(SoloCommunicator())


@pytest.mark.parametrize(("backend", "size"), [("gloo", 2), ("mpi", 2), ("gloo", 3)])
def test_several_ranks_give_what_one_rank_gives(alone: Trained, backend: str, size: int) -> None:
    """With the same global batch, weights agree to 1e-5 and losses to 1e-5; ranks agree bit by bit.

    Batches of 20 of 101 samples: three ranks have uneven shares, and the last batch is a single sample, of
    which all ranks but one have none.
    """
    ranks = run_on_tensorflow_ranks(train, size=size, backend=backend)
    for rank in ranks:
        for mine, first, one in zip(rank.weights, ranks[0].weights, alone.weights, strict=True):
            assert mine.tobytes() == first.tobytes()
            np.testing.assert_allclose(mine, one, atol=1e-5)
        for mine, one in zip(rank.training.epochs, alone.training.epochs, strict=True):
            assert mine.loss == pytest.approx(one.loss, rel=1e-5)
            assert mine.validation_loss == pytest.approx(one.validation_loss, rel=1e-5)


def test_a_step_is_that_of_the_mean_loss() -> None:
    """One step of plain gradient descent is Keras's own for the mean squared error of the batch."""
    tf, keras = load_keras()
    inputs, targets = series(32)
    model = network()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.mean_squared_error(targets, model(inputs)))
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    expected = [
        variable.numpy() - 0.1 * gradient.numpy()
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    ]
    done = fit(model, Batches.of(inputs, targets, 32), SoloCommunicator(), optimizer=sgd(0.1), epochs=1)
    for weight, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, value, atol=1e-6)
    assert done.epochs[0].loss == pytest.approx(float(loss), rel=1e-5)
    assert done.epochs[0].validation_loss is None


def test_best_weights_are_kept_and_patience_stops() -> None:
    """Where validation only gets worse, training stops after `patience` epochs with the first epoch's weights."""
    inputs, targets = series(32)
    batches, opposite = Batches.of(inputs, targets, 32), Batches.of(inputs, -targets, 32)
    model, once = network(), network()
    done = fit(model, batches, SoloCommunicator(), optimizer=sgd(), epochs=20, validation=opposite, patience=2)
    assert (len(done.epochs), done.best_epoch, done.stopped_early) == (3, 0, True)
    fit(once, batches, SoloCommunicator(), optimizer=sgd(), epochs=1)
    for kept, first in zip(model.get_weights(), once.get_weights(), strict=True):
        np.testing.assert_allclose(kept, first, atol=1e-7)


def test_progress_is_told_once_an_epoch() -> None:
    """The journal hears of each epoch, with its losses."""
    heard: list[tuple[str, dict[str, Any]]] = []
    journal.set_sink(lambda kind, fields: heard.append((kind, fields)))
    try:
        train(SoloCommunicator(), epochs=2)
    finally:
        journal.set_sink(None)
    assert [(kind, fields["done"], fields["total"]) for kind, fields in heard] == [
        ("progress", 1, 2),
        ("progress", 2, 2),
    ]
    assert "validation" in heard[0][1]["message"]


def test_moving_averages_are_alike_on_all_ranks() -> None:
    """State that no gradient keeps alike, as of batch normalization, is the same on every rank afterwards."""
    first, second = run_on_tensorflow_ranks(_train_normalized, size=2, backend="gloo")
    for mine, other in zip(first, second, strict=True):
        assert mine.tobytes() == other.tobytes()


def _train_normalized(comm: Any) -> list[Any]:
    _, keras = load_keras()
    days = keras.Input((2,))
    model = keras.Model(days, keras.layers.Dense(1)(keras.layers.BatchNormalization()(days)))
    inputs = np.arange(40, dtype=np.float32).reshape(20, 2)
    fit(model, Batches.of(inputs, inputs[:, :1], 10), comm, optimizer=sgd(1e-4), epochs=2)
    weights: list[Any] = model.get_weights()
    return weights


def test_a_loss_that_is_no_number_is_refused() -> None:
    """NaN in the samples ends training with the epoch named, not with a useless model."""
    inputs, targets = series(16)
    inputs[3, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"epoch 0.*not finite"):
        fit(network(), Batches.of(inputs, targets, 8), SoloCommunicator(), optimizer=sgd(), epochs=1)


def test_what_cannot_be_trained_is_refused() -> None:
    """No sample, no epoch, or patience without validation: refused with the reason."""
    inputs, targets = series(16)
    batches = Batches.of(inputs, targets, 8)
    with pytest.raises(SpecError, match="at least one epoch"):
        fit(network(), batches, SoloCommunicator(), optimizer=sgd(), epochs=0)
    with pytest.raises(SpecError, match="at least one epoch"):
        fit(network(), Batches.of(inputs[:0], targets[:0], 8), SoloCommunicator(), optimizer=sgd(), epochs=1)
    with pytest.raises(SpecError, match="patience"):
        fit(network(), batches, SoloCommunicator(), optimizer=sgd(), epochs=1, patience=2)


@pytest.mark.parametrize("size", [1, 2])
def test_a_stopped_training_goes_on_to_the_same_weights(alone: Trained, tmp_path: Path, size: int) -> None:
    """Told to rank 0 after the first epoch, all ranks stop; epochs, losses and weights are those of one training."""
    ranks = run_on_tensorflow_ranks(stopped_and_resumed, train, str(tmp_path), 1, size=size, backend="gloo")
    for told, trained in ranks:
        assert told == "after epoch 1"
        assert [epoch.number for epoch in trained.training.epochs] == [0, 1, 2]
        for mine, one in zip(trained.weights, alone.weights, strict=True):
            np.testing.assert_allclose(mine, one, atol=1e-5)
