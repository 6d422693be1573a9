"""Forecasting of many series: eleven neural models, each a task, against a seasonal naive baseline."""

from deeprc.workloads.forecasting.evaluation import BASELINE, evaluate
from deeprc.workloads.forecasting.fitting import fit
from deeprc.workloads.forecasting.forecast import Forecast
from deeprc.workloads.forecasting.models import IMPORTS, MODELS
from deeprc.workloads.forecasting.predicting import predict
from deeprc.workloads.forecasting.setup import ForecastSpec
from deeprc.workloads.forecasting.trained import TrainedModel

__all__ = [
    "BASELINE",
    "IMPORTS",
    "MODELS",
    "Forecast",
    "ForecastSpec",
    "TrainedModel",
    "evaluate",
    "fit",
    "predict",
]
