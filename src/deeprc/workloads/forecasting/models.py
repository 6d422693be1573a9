"""The eleven models: NeuralForecast's, in sizes that a CPU core trains at some tens of milliseconds a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from deeprc.errors import MissingDependencyError, SpecError, valid_values
from deeprc.spec.function import resolve
from deeprc.training.torch import IMPORTS as TRAINING_IMPORTS
from deeprc.workloads.forecasting.setup import COLUMN_KINDS, ForecastSpec

IMPORTS = (
    *TRAINING_IMPORTS,
    "pandas",
    "neuralforecast.models",
    "neuralforecast.tsdataset",
    "deeprc.workloads.forecasting.shared_lags",
    "deeprc.workloads.forecasting.windows",
)
"""Modules worth loading before a rank that fits a model is forked: imports only, no operation."""

_MLP = {"mlp_units": [[128, 128]] * 3}
_RECURRENT = {"encoder_hidden_size": 64, "encoder_n_layers": 1, "decoder_hidden_size": 64}
_ATTENTION = {"hidden_size": 64, "conv_hidden_size": 64, "encoder_layers": 1, "dropout": 0.0}

Options = Mapping[str, Any]


def _deepar(spec: ForecastSpec) -> Options:
    # Loss over the whole horizon: as many terms a window as the other models have.
    return {"lstm_hidden_size": 64, "lstm_n_layers": 1, "lstm_dropout": 0.0, "h_train": spec.horizon}


def _patchtst(spec: ForecastSpec) -> Options:
    patch = min(16, spec.lookback)
    sizes = {"hidden_size": 64, "linear_hidden_size": 128, "n_heads": 4, "encoder_layers": 2}
    return {**sizes, "patch_len": patch, "stride": max(1, patch // 2)}


_DEFAULTS: dict[str, Callable[[ForecastSpec], Options]] = {
    # Its trend and seasonality stacks need more than one row to forecast.
    "NBEATS": lambda spec: _MLP if spec.horizon > 1 else {**_MLP, "stack_types": ["identity"] * 3},
    "NHITS": lambda spec: _MLP,
    "LSTM": lambda spec: _RECURRENT,
    "GRU": lambda spec: _RECURRENT,
    "TCN": lambda spec: {"encoder_hidden_size": 32, "decoder_hidden_size": 64},
    "DeepAR": _deepar,
    "iTransformer": lambda spec: {"hidden_size": 64, "d_ff": 128, "n_heads": 4},
    "VanillaTransformer": lambda spec: _ATTENTION,
    # The lags it chooses, factor * log(rows), are more than there are in the shortest windows.
    "Autoformer": lambda spec: {**_ATTENTION, "factor": 3 if spec.lookback > 4 else 2},
    "FEDformer": lambda spec: {**_ATTENTION, "modes": 8},
    "PatchTST": _patchtst,
}

MODELS = tuple(_DEFAULTS)
"""Names that `fit` takes."""

_READS_FUTURE, _READS_ALL = ("future_columns",), ("future_columns", "past_columns", "static_columns")
READS: Mapping[str, tuple[str, ...]] = {
    "NBEATS": (),
    "PatchTST": (),
    **dict.fromkeys(("NHITS", "LSTM", "GRU", "TCN", "DeepAR"), _READS_ALL),
    **dict.fromkeys(("iTransformer", "VanillaTransformer", "Autoformer", "FEDformer"), _READS_FUTURE),
}
"""Which columns beside y each model can read: as NeuralForecast says, known here without importing it."""

WITH_UNUSED_WEIGHTS = frozenset({"FEDformer"})
"""Models with weights that no forecast depends on (FEDformer keeps projections that its Fourier blocks replace)."""


def check_model(model: str | type) -> None:
    """Refuse an unknown model; a class of your own, or a reference to one, is looked at when it is built.

    Raises:
        SpecError: with the valid names.
    """
    if isinstance(model, type) or (isinstance(model, str) and ":" in model):
        return
    if model not in MODELS:
        known = valid_values(str(model), MODELS, noun="model")
        raise SpecError(
            f"unknown model {model!r}. {known} Or a class derived from NeuralForecast's BaseModel, as it is or as "
            "'package.module:Class' or 'path/to/file.py:Class'."
        )


def check_columns(model: str | type, spec: ForecastSpec) -> None:
    """Refuse columns that a model cannot read.

    Raises:
        SpecError: with the models that can.
    """
    for kind in COLUMN_KINDS:
        if getattr(spec, kind) and isinstance(model, str) and kind not in READS.get(model, COLUMN_KINDS):
            able = ", ".join(name for name in MODELS if kind in READS[name])
            raise SpecError(f"{model} reads no {kind}; those that do: {able}. Leave {kind} out for {model}")


def name_of(model: str | type) -> str:
    """What a model is called in results."""
    return model.__name__ if isinstance(model, type) else model.rpartition(":")[2]


def load_library() -> Any:
    """Import and return `neuralforecast.models`.

    Raises:
        MissingDependencyError: neuralforecast is not installed.
    """
    try:
        import neuralforecast.models as library
    except ImportError as error:
        raise MissingDependencyError("the models need NeuralForecast: pip install 'deeprc[forecast]'") from error
    return library


def model_class(model: str | type) -> Any:
    """The NeuralForecast class of a model.

    Raises:
        MissingDependencyError: neuralforecast is not installed.
        SpecError: no such model, or not a NeuralForecast model.
    """
    check_model(model)
    library = load_library()
    if isinstance(model, str) and ":" not in model:
        return getattr(library, model)
    from neuralforecast.common._base_model import BaseModel

    kind: Any = resolve(model) if isinstance(model, str) else model
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        raise SpecError(f"{model!r} is no class derived from neuralforecast.common._base_model.BaseModel")
    return kind


def build(model: str | type, spec: ForecastSpec, n_series: int, trainer_options: Options) -> Any:
    """A NeuralForecast model (a LightningModule) with fresh weights from `spec.seed`.

    It takes batches that are cut into windows already (see `windows.py`), so it samples none itself.

    Raises:
        MissingDependencyError: neuralforecast is not installed.
        SpecError: an option that the model does not have, or columns that it cannot read.
    """
    kind = model_class(model)
    name = name_of(model)
    _check_options(name, kind, spec.options)
    _check_reads(name, kind, spec)
    own: dict[str, Any] = {
        "h": spec.horizon,
        "input_size": spec.lookback,
        "max_steps": spec.max_steps,
        "learning_rate": spec.learning_rate,
        "scaler_type": spec.scaler,
        "random_seed": spec.seed,
        "batch_size": spec.batch_size,
        "windows_batch_size": None,
        "inference_windows_batch_size": 1024,
        "valid_batch_size": 1024,
        "val_check_steps": spec.max_steps,
        **({"n_series": n_series} if kind.MULTIVARIATE else {}),
        **{theirs: list(getattr(spec, ours)) for ours, (theirs, _) in _COLUMN_OPTIONS.items() if getattr(spec, ours)},
    }
    defaults = _DEFAULTS[model](spec) if isinstance(model, str) and model in _DEFAULTS else {}
    network = kind(**{**own, **defaults, **spec.options}, **trainer_options)
    # Windows lie end to end in a batch: a step of a whole window finds each exactly once.
    network.step_size = network.input_size + network.h
    return network


_COLUMN_OPTIONS = {
    "future_columns": ("futr_exog_list", "EXOGENOUS_FUTR"),
    "past_columns": ("hist_exog_list", "EXOGENOUS_HIST"),
    "static_columns": ("stat_exog_list", "EXOGENOUS_STAT"),
}


def _check_reads(name: str, kind: Any, spec: ForecastSpec) -> None:
    for ours, (_, able) in _COLUMN_OPTIONS.items():
        if getattr(spec, ours) and not getattr(kind, able):
            raise SpecError(f"{name} reads no {ours}: leave it out")


def _check_options(model: str, kind: type, options: Options) -> None:
    decided = {"self", "h", "input_size", "max_steps", "learning_rate", "scaler_type", "random_seed", "n_series"}
    decided |= {"windows_batch_size", "batch_size", "step_size", "trainer_kwargs"}
    decided |= {theirs for theirs, _ in _COLUMN_OPTIONS.values()}
    names = [name for name in inspect.signature(kind).parameters if name not in decided]
    for name in options:
        if name not in names:
            raise SpecError(f"{model} has no option {name!r}. {valid_values(name, names, noun='option')}")
