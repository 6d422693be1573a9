"""Hydrology: rainfall-runoff models of one or many catchments, their data, metrics and baselines.

Names are loaded when first used: reading river records brings neither TensorFlow nor Keras.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeprc.workloads.hydrology.camels import read_camels as read_camels
    from deeprc.workloads.hydrology.camels import read_camels_attributes as read_camels_attributes
    from deeprc.workloads.hydrology.cleaning import clean_river as clean_river
    from deeprc.workloads.hydrology.cleaning import clean_rivers as clean_rivers
    from deeprc.workloads.hydrology.evaluation import evaluate as evaluate
    from deeprc.workloads.hydrology.metrics import kge as kge
    from deeprc.workloads.hydrology.metrics import nse as nse
    from deeprc.workloads.hydrology.metrics import peak_error as peak_error
    from deeprc.workloads.hydrology.model import RiverModel as RiverModel
    from deeprc.workloads.hydrology.prediction import predict as predict
    from deeprc.workloads.hydrology.records import read_records as read_records
    from deeprc.workloads.hydrology.rivers import read_river as read_river
    from deeprc.workloads.hydrology.rivers import river_files as river_files
    from deeprc.workloads.hydrology.scores import HydrologyResult as HydrologyResult
    from deeprc.workloads.hydrology.scores import Score as Score
    from deeprc.workloads.hydrology.setup import Setup as Setup
    from deeprc.workloads.hydrology.train import train_lstm as train_lstm

_HOMES = {
    "HydrologyResult": "scores",
    "RiverModel": "model",
    "Score": "scores",
    "Setup": "setup",
    "clean_river": "cleaning",
    "clean_rivers": "cleaning",
    "evaluate": "evaluation",
    "kge": "metrics",
    "nse": "metrics",
    "peak_error": "metrics",
    "predict": "prediction",
    "read_camels": "camels",
    "read_camels_attributes": "camels",
    "read_records": "records",
    "read_river": "rivers",
    "river_files": "rivers",
    "train_lstm": "train",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deeprc.workloads.hydrology' has no attribute {name!r}")
    return getattr(import_module(f"deeprc.workloads.hydrology.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__]
