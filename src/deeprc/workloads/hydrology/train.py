"""Train a river model on the ranks of a task."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from deeprc.bridge import dataset_root
from deeprc.errors import DataError, valid_values
from deeprc.spec.imports import checked_by, imports, writes
from deeprc.training.keras import IMPORTS, Training, fit, load_keras, save_model
from deeprc.workloads.hydrology.model import RiverModel, build_network
from deeprc.workloads.hydrology.samples import (
    RiverSamples,
    checked_frame,
    fit_scaling,
    note_scaled,
    river_samples,
    sample_batches,
    weighted_squares,
)
from deeprc.workloads.hydrology.setup import Periods, Scale, Setup, split_years

if TYPE_CHECKING:
    from deeprc.bridge import Dataset
    from deeprc.communicator import Communicator


def _check_settings(arguments: dict[str, Any]) -> None:
    Setup.of({name: value for name, value in arguments.items() if name not in ("data", "comm", "path")})


@imports(*IMPORTS)
@checked_by(_check_settings)
@writes("path")
def train_lstm(
    data: Dataset | pl.DataFrame,
    comm: Communicator,
    *,
    path: str | Path | None = None,
    features: Sequence[str] = Setup.features,
    static: Sequence[str] = Setup.static,
    target: str = Setup.target,
    lookback_days: int = Setup.lookback_days,
    lead_days: int = Setup.lead_days,
    hidden_units: int = Setup.hidden_units,
    dropout: float = Setup.dropout,
    batch_size: int = Setup.batch_size,
    epochs: int = Setup.epochs,
    patience: int = Setup.patience,
    learning_rate: float = Setup.learning_rate,
    validation_years: int = Setup.validation_years,
    test_years: int = Setup.test_years,
    seed: int = Setup.seed,
    scale: Scale = Setup.scale,
    held_out: Sequence[str] = Setup.held_out,
) -> RiverModel:
    """Train one LSTM on all rivers of `data`, on all ranks of the task. Collective.

    Args:
        data: basin, date, the target and the features, one row a day; rivers of different years may mix.
        comm: the task's communicator; each rank takes its share of every batch of `batch_size` windows.
        path: the `.keras` file for the weights, which `RiverModel.open` reads again; None puts one of a new name
            among the run's datasets (outside a run, in a temporary folder that goes away with the process).
        others: see `Setup`.

    Raises:
        SpecError: a setting that cannot be.
        DataError: a missing column, a record too short, or no complete window to train on.
    """
    setup = Setup(
        features=tuple(features),
        static=tuple(static),
        target=target,
        lookback_days=lookback_days,
        lead_days=lead_days,
        hidden_units=hidden_units,
        dropout=dropout,
        batch_size=batch_size,
        epochs=epochs,
        patience=patience,
        learning_rate=learning_rate,
        validation_years=validation_years,
        test_years=test_years,
        seed=seed,
        scale=scale,
        held_out=tuple(held_out),
    )
    frame = _trained_on(checked_frame(data, setup), setup)
    periods = split_years(frame, setup)
    scaling = fit_scaling(frame, periods, setup)
    rivers = river_samples(frame, scaling, setup)
    note_scaled(data, rivers, setup)
    network, training = _train(rivers, periods, setup, comm)
    weights = _save(network, path, comm)
    model = RiverModel(weights, setup, scaling, periods, training.epochs, training.best_epoch)
    if comm.rank == 0:
        model.describe()
    return model


def _trained_on(frame: pl.DataFrame, setup: Setup) -> pl.DataFrame:
    """The rivers that are not held out."""
    basins = frame["basin"].unique().sort().to_list()
    for basin in setup.held_out:
        if basin not in basins:
            raise DataError(f"held_out: no river {basin!r}. {valid_values(basin, basins, noun='river')}")
    if len(basins) == len(set(setup.held_out)):
        raise DataError("held_out: names all rivers, which leaves none to train on")
    return frame.filter(~pl.col("basin").is_in(setup.held_out))


def _train(
    rivers: Sequence[RiverSamples], periods: Mapping[str, Periods], setup: Setup, comm: Communicator
) -> tuple[Any, Training]:
    """The network with the weights of the epoch that did best in the validation period."""
    _, keras = load_keras()
    seen = {basin: (period.first, period.validation_from) for basin, period in periods.items()}
    judged = {basin: (period.validation_from, period.test_from) for basin, period in periods.items()}
    training = sample_batches(rivers, seen, setup, seed=setup.seed)
    network = build_network(rivers[0].inputs.shape[1], setup)
    steps = setup.epochs * -(-training.num_samples // setup.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(setup.learning_rate, decay_steps=steps, alpha=0.02)
    history = fit(
        network,
        training,
        comm,
        optimizer=keras.optimizers.Adam(rate, global_clipnorm=1.0),
        epochs=setup.epochs,
        loss=weighted_squares,
        validation=sample_batches(rivers, judged, setup),
        patience=setup.patience,
        name="river LSTM",
    )
    return network, history


def _save(network: Any, path: str | Path | None, comm: Communicator) -> str:
    """Rank 0 writes the weights; all ranks get the path once the file is there."""
    if comm.rank == 0:
        unique = f"river_lstm-{uuid.uuid4().hex[:8]}.keras"
        path = save_model(network, path or dataset_root() / "models" / unique)
    return str(comm.broadcast(path))
