"""Train one model on the ranks of a task, and let it forecast the rows kept from it."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.spec.imports import checked_by, imports
from deeprc.training.torch import trainer
from deeprc.workloads.forecasting.forecast import Forecast, backtest_of
from deeprc.workloads.forecasting.models import IMPORTS, WITH_UNUSED_WEIGHTS, build, check_model, load_library
from deeprc.workloads.forecasting.panel import Panel, read_panel
from deeprc.workloads.forecasting.setup import ForecastSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeprc.bridge import Dataset

_LOUD = ("pytorch_lightning", "lightning_fabric", "lightning_utilities")
_SEEDS = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")


def _check_settings(arguments: dict[str, Any]) -> None:
    if "model" in arguments:
        check_model(arguments["model"])
    settings = {key: value for key, value in arguments.items() if key not in ("data", "model", "comm")}
    ForecastSpec.of({**settings, "options": settings.get("options") or {}})


@imports(*IMPORTS)
@checked_by(_check_settings)
def fit(
    data: Dataset | pl.DataFrame,
    model: str,
    comm: Communicator | None = None,
    *,
    horizon: int = ForecastSpec.horizon,
    lookback: int = ForecastSpec.lookback,
    season_length: int = ForecastSpec.season_length,
    windows: int = ForecastSpec.windows,
    max_steps: int = ForecastSpec.max_steps,
    batch_size: int = ForecastSpec.batch_size,
    learning_rate: float = ForecastSpec.learning_rate,
    scaler: str = ForecastSpec.scaler,
    seed: int = ForecastSpec.seed,
    options: Mapping[str, Any] | None = None,
) -> Forecast:
    """Train `model` on all series but their last `windows * horizon` rows, and forecast those. Collective.

    The same seed, data and settings give the same forecast; on several ranks the same up to rounding, but
    for iTransformer and PatchTST: each rank draws their dropout for itself (`options` can turn it off).

    Args:
        data: unique_id, ds, y: one row for each series and time, at even steps.
        model: one of `MODELS`.
        comm: the task's communicator; each rank takes an even share of every batch.
        others: see `ForecastSpec`.

    Raises:
        SpecError: an unknown model or option, or a setting that cannot be; a batch that ranks cannot share.
        DataError: a column, a value, or a series that cannot be forecast from.
        MissingDependencyError: neuralforecast is not installed.
    """
    check_model(model)
    spec = ForecastSpec(
        horizon=horizon,
        lookback=lookback,
        season_length=season_length,
        windows=windows,
        max_steps=max_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        scaler=scaler,
        seed=seed,
        options=options or {},
    )
    comm = comm or SoloCommunicator()
    panel = read_panel(data, spec)
    if not isinstance(data, pl.DataFrame):
        trained_on = sum(4 * len(values) for values in panel.values)
        data.note_copies({"y": trained_on}, to="torch", reason="the networks compute in float32")
    load_library()
    began = time.perf_counter()
    with _apart():
        network = _train(panel, model, spec, comm)
        seconds = time.perf_counter() - began
        # All ranks hold the same weights: one forecasts for all, and the forecast cannot differ between ranks.
        predicted = comm.broadcast(_predict(network, panel, spec) if comm.rank == 0 else None)
    assert predicted is not None
    return backtest_of(panel, spec, model, predicted, seconds=seconds, ranks=comm.size)


def _train(panel: Panel, model: str, spec: ForecastSpec, comm: Communicator) -> Any:
    """A NeuralForecast model, trained."""
    from torch.utils.data import DataLoader

    from deeprc.training.torch import RankEnvironment, StepSampler
    from deeprc.training.torch.trainer import QUIET
    from deeprc.workloads.forecasting.shared_lags import lags_of_global_batch
    from deeprc.workloads.forecasting.windows import PanelWindows, SeriesWindows

    alone = {"accelerator": "cpu", "devices": 1, "plugins": [RankEnvironment(SoloCommunicator())], **QUIET}
    network = build(model, spec, len(panel.names), alone)
    length = network.input_size + network.h
    steps = {"steps": spec.max_steps, "seed": spec.seed}
    if network.MULTIVARIATE:
        # NeuralForecast itself gives each rank every size-th window of such a batch, so all ranks get all of it.
        share = max(1, spec.batch_size // len(panel.names) // comm.size) * comm.size
        data: Any = PanelWindows(panel.aligned(spec.test_rows), length)
        sampler = StepSampler(len(data), batch_size_global=share, **steps)
    else:
        data = SeriesWindows(panel.without_last(spec.test_rows), length)
        sampler = StepSampler(len(data), batch_size_global=spec.batch_size, rank=comm.rank, size=comm.size, **steps)
    loader = DataLoader(data, sampler=sampler, batch_size=None)
    with lags_of_global_batch(network, comm):
        trainer(
            comm,
            max_steps=spec.max_steps,
            find_unused_parameters=model in WITH_UNUSED_WEIGHTS,
            use_distributed_sampler=False,
            sync_batchnorm=True,
        ).fit(network, loader)
    return network


def _predict(network: Any, panel: Panel, spec: ForecastSpec) -> NDArray[np.float64]:
    """Forecasts (series, windows * horizon), each window from the rows before it."""
    from neuralforecast.tsdataset import TimeSeriesDataset

    from deeprc.workloads.forecasting.windows import COLUMNS

    rows = network.input_size + spec.test_rows
    _, values = panel.last(rows)
    temporal = np.stack([values.ravel(), np.ones(values.size)], axis=1)
    dataset = TimeSeriesDataset(temporal, COLUMNS, np.arange(len(values) + 1) * rows, y_idx=0)
    network.set_test_size(spec.test_rows)
    outputs = network.predict(dataset, step_size=spec.horizon, random_seed=spec.seed)
    # The first output is the point forecast: the mean, where the model gives a distribution.
    predicted: NDArray[np.float64] = outputs[:, 0].reshape(len(values), spec.test_rows)
    return predicted


@contextmanager
def _apart() -> Iterator[None]:
    """Keep what the libraries do to the process within the fit: a warm rank goes on to other tasks.

    Lightning's advice and announcements stay out of the task's output, its errors do not. The seed that
    NeuralForecast leaves in the environment would give ranks with different pasts different shuffles.
    """
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    seeds = {name: os.environ.get(name) for name in _SEEDS}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch)\b")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            for name, seed in seeds.items():
                os.environ.pop(name, None)
                if seed is not None:
                    os.environ[name] = seed
