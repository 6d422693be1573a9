"""Train one model on the ranks of a task, and let it forecast the rows kept from it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.spec.imports import checked_by, imports, writes
from deeprc.training.torch import trainer
from deeprc.workloads.forecasting.apart import apart
from deeprc.workloads.forecasting.forecast import Forecast, backtest_of
from deeprc.workloads.forecasting.models import (
    IMPORTS,
    WITH_UNUSED_WEIGHTS,
    build,
    check_columns,
    check_model,
    load_library,
    name_of,
)
from deeprc.workloads.forecasting.panel import Panel, read_panel
from deeprc.workloads.forecasting.setup import ForecastSpec
from deeprc.workloads.forecasting.trained import alone, forecast_windows, save_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeprc.bridge import Dataset


def _check_settings(arguments: dict[str, Any]) -> None:
    settings = {key: value for key, value in arguments.items() if key not in ("data", "model", "comm", "path")}
    spec = ForecastSpec.of({**settings, "options": settings.get("options") or {}})
    if "model" in arguments:
        check_model(arguments["model"])
        check_columns(arguments["model"], spec)


@imports(*IMPORTS)
@checked_by(_check_settings)
@writes("path")
def fit(
    data: Dataset | pl.DataFrame,
    model: str | type,
    comm: Communicator | None = None,
    *,
    path: str | Path | None = None,
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
    future_columns: Sequence[str] = (),
    past_columns: Sequence[str] = (),
    static_columns: Sequence[str] = (),
) -> Forecast:
    """Train `model` on all series but their last `windows * horizon` rows, and forecast those. Collective.

    The same seed, data and settings give the same forecast; on several ranks the same up to rounding, but
    for iTransformer and PatchTST: each rank draws their dropout for itself (`options` can turn it off).

    Args:
        data: unique_id, ds, y, and the columns named below: one row for each series and time, at even steps.
        model: one of `MODELS`, or a class derived from NeuralForecast's BaseModel, or a reference to one.
        comm: the task's communicator; each rank takes an even share of every batch.
        path: the file for the trained model; None puts one of a new name among the run's datasets (outside a run,
            in a temporary folder that goes away with the process).
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
        future_columns=future_columns,
        past_columns=past_columns,
        static_columns=static_columns,
    )
    check_columns(model, spec)
    comm = comm or SoloCommunicator()
    panel = read_panel(data, spec)
    _note_copies(data, panel, spec)
    load_library()
    began = time.perf_counter()
    with apart():
        network = _train(panel, model, spec, comm)
        seconds = time.perf_counter() - began
        # All ranks hold the same weights: one forecasts for all, and the forecast cannot differ between ranks.
        predicted = comm.broadcast(_backtest(network, panel, spec) if comm.rank == 0 else None)
        trained = comm.broadcast(save_network(network, model, spec, panel.names, path) if comm.rank == 0 else None)
    assert predicted is not None
    return backtest_of(panel, spec, name_of(model), predicted, seconds=seconds, ranks=comm.size, trained=trained)


def _note_copies(data: Dataset | pl.DataFrame, panel: Panel, spec: ForecastSpec) -> None:
    """Say in a dataset's ledger what of it has been copied."""
    if not isinstance(data, pl.DataFrame):
        trained_on = 4 * sum(len(values) for values in panel.values)
        copied = dict.fromkeys(("y", *spec.temporal_columns), trained_on)
        data.note_copies(copied, to="torch", reason="the networks compute in float32")


def _backtest(network: Any, panel: Panel, spec: ForecastSpec) -> NDArray[np.float64]:
    """Forecasts (series, windows * horizon), each window from the rows before it."""
    if not spec.windows:
        return np.empty((len(panel.names), 0))
    channels = panel.last_channels(network.input_size + spec.test_rows)
    return forecast_windows(network, channels, panel.static, spec, spec.test_rows)[:, :, 0]


def _train(panel: Panel, model: str | type, spec: ForecastSpec, comm: Communicator) -> Any:
    """A NeuralForecast model, trained."""
    from torch.utils.data import DataLoader

    from deeprc.training.torch import StepSampler
    from deeprc.workloads.forecasting.shared_lags import lags_of_global_batch
    from deeprc.workloads.forecasting.windows import PanelWindows, SeriesWindows

    network = build(model, spec, len(panel.names), alone())
    length, names = network.input_size + network.h, spec.temporal_columns
    steps = {"steps": spec.max_steps, "seed": spec.seed}
    if network.MULTIVARIATE:
        # NeuralForecast itself gives each rank every size-th window of such a batch, so all ranks get all of it.
        share = max(1, spec.batch_size // len(panel.names) // comm.size) * comm.size
        data: Any = PanelWindows(panel.aligned(spec.test_rows), length, names)
        sampler = StepSampler(len(data), batch_size_global=share, **steps)
    else:
        series = panel.channels_without_last(spec.test_rows)
        data = SeriesWindows(series, length, names, panel.static, spec.static_columns)
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
