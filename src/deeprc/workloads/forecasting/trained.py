"""A trained model in a file, and what it forecasts from the rows it is given."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeprc.bridge import dataset_root
from deeprc.communicator import SoloCommunicator
from deeprc.errors import DataError
from deeprc.workloads.forecasting.models import build, load_library, name_of
from deeprc.workloads.forecasting.setup import ForecastSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FORMAT = 1


@dataclass(frozen=True)
class TrainedModel:
    """A trained model by reference: its file, and what it was trained on.

    The file holds all that is needed to use it later and elsewhere. It is a pickle: open only those that you trust.
    """

    path: str
    model: str
    spec: ForecastSpec
    series: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.model} of {len(self.series)} series, {self.spec.horizon} rows ahead, in {self.path}"

    @classmethod
    def open(cls, path: str | Path) -> TrainedModel:
        """The model in a file.

        Raises:
            DataError: the file is absent, or holds no such model.
        """
        kept = _read(path)
        return cls(str(path), name_of(kept["model"]), kept["spec"], kept["series"])

    def network(self) -> Any:
        """The NeuralForecast model, a LightningModule, with the weights it was left with."""
        kept = _read(self.path)
        network = build(kept["model"], self.spec, len(self.series), alone())
        network.load_state_dict(kept["weights"])
        return network


def alone() -> dict[str, Any]:
    """Options of NeuralForecast's own trainer, which only forecasts: one process, quiet."""
    from deeprc.training.torch import RankEnvironment
    from deeprc.training.torch.trainer import QUIET

    return {"accelerator": "cpu", "devices": 1, "plugins": [RankEnvironment(SoloCommunicator())], **QUIET}


def save_network(
    network: Any, model: str | type, spec: ForecastSpec, series: Sequence[str], path: str | Path | None
) -> TrainedModel:
    """Write a trained network under a temporary name, then rename it; None makes a new name among the datasets."""
    import cloudpickle
    import torch

    name = name_of(model)
    path = Path(path or dataset_root() / "models" / f"{name}-{uuid.uuid4().hex[:8]}.pt").absolute()
    kept = {"deeprc": _FORMAT, "model": model, "spec": spec, "series": tuple(series), "weights": network.state_dict()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(kept, temporary, pickle_module=cloudpickle)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: the model cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return TrainedModel(str(path), name, spec, tuple(series))


def forecast_windows(
    network: Any, channels: NDArray[np.float64], static: NDArray[np.float64], spec: ForecastSpec, rows: int
) -> NDArray[np.float64]:
    """Forecasts (series, rows, output) of the last `rows`, `horizon` at a time, each from the rows before it.

    `channels` is (series, lookback + rows, [y, columns beside it]), `static` (series, column). The first output is
    the point forecast: the mean, where the model gives a distribution.
    """
    import pandas as pd
    from neuralforecast.tsdataset import TimeSeriesDataset

    from deeprc.workloads.forecasting.windows import columns

    series, length, width = channels.shape
    temporal = np.column_stack([channels.reshape(-1, width), np.ones(series * length)])
    fixed = {"static": static, "static_cols": pd.Index(list(spec.static_columns))} if spec.static_columns else {}
    dataset = TimeSeriesDataset(
        temporal, columns(spec.temporal_columns), np.arange(series + 1) * length, y_idx=0, **fixed
    )
    network.set_test_size(rows)
    outputs = network.predict(dataset, step_size=spec.horizon, random_seed=spec.seed)
    forecast: NDArray[np.float64] = outputs.reshape(series, rows, -1)
    return forecast


def _read(path: str | Path) -> dict[str, Any]:
    load_library()
    import torch

    try:
        kept = torch.load(path, weights_only=False)
    except OSError as error:
        raise DataError(f"{path}: no model can be read: {error.strerror}") from error
    except Exception as error:
        raise DataError(f"{path}: is not a model that `fit` has written ({type(error).__name__}: {error})") from error
    if not isinstance(kept, dict) or kept.get("deeprc") != _FORMAT:
        raise DataError(f"{path}: is not a model that `fit` has written")
    return kept
