"""The training loop: gradients of each rank's share, summed over the ranks, applied by all alike.

For each global batch
1. every rank computes the summed loss and its gradient over its share (compiled),
2. one all-reduce of one float32 vector adds up gradients, loss and number of samples,
3. every rank divides by the number of samples and takes the optimizer's step (compiled).

So the step is that of the mean loss over the global batch, whatever the number of ranks, up to the order in
which float32 numbers are added.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from deeprc import journal
from deeprc.errors import DataError, SpecError
from deeprc.training.keras.backend import load_keras
from deeprc.training.keras.batches import Batches
from deeprc.training.keras.checkpoint import Checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeprc.communicator import Communicator

Loss = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Epoch:
    """Mean loss over all samples of one pass over the data, and the wall-clock time this rank took for it."""

    number: int
    loss: float
    validation_loss: float | None
    seconds: float = field(compare=False)


@dataclass(frozen=True)
class Training:
    """How a training went. The model holds the weights of `best_epoch` (the last one without validation)."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    stopped_early: bool


def fit(
    model: Any,
    batches: Batches,
    comm: Communicator,
    *,
    optimizer: Any,
    epochs: int,
    loss: Loss | None = None,
    validation: Batches | None = None,
    patience: int | None = None,
    name: str = "",
) -> Training:
    """Train a built Keras model in place on all ranks of a task. Collective.

    Args:
        model: the same architecture on every rank; rank 0's weights are taken by all at the start.
        batches: the samples, the same on every rank; each rank takes its share.
        comm: the task's communicator, of any backend.
        optimizer: a Keras optimizer of the model's own; `global_clipnorm` clips the averaged gradient.
        epochs: passes over the samples, at most.
        loss: (targets, predictions) to one loss a sample, shape (batch,); None is the mean squared error.
        validation: samples to judge each epoch by; the best epoch's weights are kept.
        patience: stop after this many epochs without a better validation loss; None never stops early.
        name: what the progress message starts with.

    N ranks give what one rank gives, within float32 rounding, for models without dropout and batch statistics
    (moving averages are averaged over the ranks after each epoch).

    In a run, a task that is tried again or resumed goes on after the last epoch that was kept: once a minute, and when
    the run stops (`deeprc.stopping()`).

    Raises:
        SpecError: `patience` without `validation`, or no epoch or sample to train on.
        DataError: the loss is no finite number.
        TaskStoppedError: the run stops; the next run goes on from here.
    """
    _check(batches, epochs, validation, patience)
    gradients, apply, losses = _compiled(model, optimizer, loss)
    model.set_weights(comm.broadcast(model.get_weights()))
    history: list[Epoch] = []
    best, best_epoch, best_weights = math.inf, epochs - 1, None
    checkpoint = Checkpoint(model, optimizer, comm)
    if (earlier := checkpoint.restore()) is not None:
        history, (best, best_epoch, best_weights) = earlier["history"], earlier["best"]
    for number in range(len(history), epochs):
        started = time.perf_counter()
        train_loss = _train_epoch(batches, gradients, apply, comm, number)
        _average_state(model, comm)
        validation_loss = _mean_loss(validation, losses, comm, number) if validation else None
        history.append(Epoch(number, train_loss, validation_loss, time.perf_counter() - started))
        _show(history[-1], epochs, name, comm)
        if validation_loss is not None and validation_loss < best:
            best, best_epoch, best_weights = validation_loss, number, model.get_weights()
        if validation_loss is not None and patience is not None and number - best_epoch >= patience:
            break
        checkpoint.keep(history=history, best=(best, best_epoch, best_weights))
    if best_weights is not None:
        model.set_weights(best_weights)
    last = history[-1].number
    return Training(tuple(history), best_epoch if best_weights is not None else last, last < epochs - 1)


def _train_epoch(batches: Batches, gradients: Any, apply: Any, comm: Communicator, epoch: int) -> float:
    """One pass over the samples; returns the mean of the losses as they were before each step."""
    total = np.zeros(2)
    for inputs, targets in batches.share(epoch, comm.rank, comm.size):
        summed = comm.all_reduce(gradients(inputs, targets))
        apply(summed[:-2] / summed[-1])
        total += summed[-2:]
    return _mean(total, epoch)


def _compiled(model: Any, optimizer: Any, loss: Loss | None) -> tuple[Any, Any, Any]:
    """Three compiled functions: flat gradients of a share, one optimizer step from them, and losses only.

    The first returns (parameters + 2,) float32: the gradient of the summed loss, that sum, the samples; zeros
    for a rank that has no sample of a short last batch.
    """
    tf, keras = load_keras()
    per_sample = loss or keras.losses.mean_squared_error
    variables = model.trainable_variables
    sizes = [int(np.prod(variable.shape)) for variable in variables]
    optimizer.build(variables)

    def summed(inputs: Any, targets: Any, training: bool) -> tuple[Any, Any]:
        losses = per_sample(targets, model(inputs, training=training))
        return tf.reduce_sum(losses), tf.cast(tf.shape(losses)[0], tf.float32)

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def flat_gradients(inputs: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            total, samples = summed(inputs, targets, training=True)
        parts = tape.gradient(total, [v.value for v in variables], unconnected_gradients="zero")
        return tf.concat([*(tf.reshape(part, [-1]) for part in parts), [total, samples]], axis=0)

    def gradients(inputs: Any, targets: Any) -> NDArray[np.float32]:
        if not len(targets):
            return np.zeros(sum(sizes) + 2, np.float32)
        summed_gradients: NDArray[np.float32] = flat_gradients(inputs, targets).numpy()
        return summed_gradients

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def apply(flat: Any) -> None:
        parts = tf.split(flat, sizes)
        optimizer.apply([tf.reshape(p, v.shape) for p, v in zip(parts, variables, strict=True)], variables)

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def losses(inputs: Any, targets: Any) -> Any:
        return tf.stack(summed(inputs, targets, training=False))

    return gradients, apply, losses


def _mean_loss(batches: Batches, losses: Any, comm: Communicator, epoch: int) -> float:
    """The mean loss over all samples of all ranks, the same number on every rank."""
    total = np.zeros(2, dtype=np.float64)
    for inputs, targets in batches.share(0, comm.rank, comm.size):
        total += losses(inputs, targets).numpy()
    return comm.broadcast(_mean(comm.all_reduce(total), epoch))


def _mean(total: NDArray[Any], epoch: int) -> float:
    loss = float(total[0] / total[1])
    if not math.isfinite(loss):
        raise DataError(
            f"the loss is {loss} in epoch {epoch}: the samples hold a value that is not finite, or "
            "the learning rate is too high"
        )
    return loss


def _average_state(model: Any, comm: Communicator) -> None:
    """Moving averages, which no gradient keeps alike: their mean over the ranks."""
    for variable in model.non_trainable_variables:
        if comm.size > 1 and variable.dtype.startswith("float"):
            variable.assign(comm.all_reduce(np.asarray(variable), "mean"))


def _show(epoch: Epoch, epochs: int, name: str, comm: Communicator) -> None:
    if comm.rank == 0:
        judged = "" if epoch.validation_loss is None else f", validation {epoch.validation_loss:.4f}"
        message = f"{name} epoch {epoch.number + 1}: loss {epoch.loss:.4f}{judged}".strip()
        journal.progress(epoch.number + 1, epochs, message)


def _check(batches: Batches, epochs: int, validation: Batches | None, patience: int | None) -> None:
    if epochs < 1 or batches.num_samples < 1 or batches.batch_size < 1:
        raise SpecError(
            f"training needs at least one epoch, sample and sample a batch; got {epochs} epochs, "
            f"{batches.num_samples} samples, batch size {batches.batch_size}"
        )
    if patience is not None and validation is None:
        raise SpecError("patience stops on the validation loss: give validation samples, or patience=None")
