"""Forecasts of what has not happened yet, by models trained before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from deeprc.errors import DataError, SpecError, valid_values
from deeprc.journal import ForecastPlot, record_artifact
from deeprc.spec.imports import checked_by, imports, writes
from deeprc.workloads.forecasting.apart import apart
from deeprc.workloads.forecasting.calendar import times_after
from deeprc.workloads.forecasting.evaluation import iso_times
from deeprc.workloads.forecasting.forecast import Forecast
from deeprc.workloads.forecasting.models import IMPORTS
from deeprc.workloads.forecasting.panel import Panel, read_panel
from deeprc.workloads.forecasting.trained import TrainedModel, forecast_windows
from deeprc.workloads.frame_files import check_frame_path, write_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeprc.bridge import Dataset

Trained = TrainedModel | Forecast | str | Path


def _check_path(arguments: dict[str, Any]) -> None:
    check_frame_path(arguments.get("path"))


@imports(*IMPORTS)
@checked_by(_check_path)
@writes("path")
def predict(
    models: Trained | Sequence[Trained],
    data: Dataset | pl.DataFrame,
    known: Dataset | pl.DataFrame | None = None,
    *,
    path: str | Path | None = None,
    title: str = "Forecast",
    unit: str = "",
    max_plots: int = 6,
) -> pl.DataFrame:
    """Forecast the `horizon` rows after the end of each series; leaves plots for the report.

    Args:
        models: what `fit` gave, a `TrainedModel`, or the path of a model's file; or several of the same horizon.
        data: unique_id, ds, y and the models' columns, up to now: each series' last `lookback` rows are read.
        known: unique_id, ds and the models' `future_columns` in the rows to forecast.
        path: a `.csv` or `.parquet` file to write the forecasts to as well.
        title: before each series' name over its plot.
        unit: of y.
        max_plots: the number of series to draw, the first ones by name.

    Returns:
        unique_id, ds, and a column for each model; for one that gives more than a point forecast (a distribution,
        quantiles) also columns such as DeepAR-lo-90 and DeepAR-hi-90.

    Raises:
        DataError: a column or value that a model needs is missing, or a model's file is.
        SpecError: no models, models of different horizons, two of one name.
    """
    check_frame_path(path)
    trained = _opened(models)
    parts: dict[str, Any] = {}
    for each in trained:
        panel = read_panel(data, each.spec, to_train=False)
        columns = _forecast(each, panel, known)
        parts |= {"panel": panel} | columns
    panel = parts.pop("panel")
    times = [times_after(series, trained[0].spec.horizon, name) for name, series in _times(panel)]
    frame = pl.DataFrame(
        {"unique_id": np.repeat(panel.names, trained[0].spec.horizon), "ds": pl.concat(times)}
        | {name: values.reshape(-1) for name, values in parts.items()}
    )
    for index in range(min(max_plots, len(panel.names))):
        record_artifact(_plot(panel, index, frame, [each.model for each in trained], trained[0].spec, title, unit))
    if path is not None:
        write_frame(frame, path)
    return frame


def _opened(models: Trained | Sequence[Trained]) -> list[TrainedModel]:
    several = [models] if isinstance(models, TrainedModel | Forecast | str | Path) else list(models)
    opened = [_model_of(each) for each in several]
    if not opened:
        raise SpecError("no models to forecast with: pass the results of `fit`, or the paths of their files")
    names = [each.model for each in opened]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"{name} is among the models more than once: forecast with one of each name")
    horizons = {each.model: each.spec.horizon for each in opened}
    if len(set(horizons.values())) > 1:
        raise SpecError(f"models of different horizons {horizons}: forecast with each alone")
    return opened


def _model_of(given: Trained) -> TrainedModel:
    if isinstance(given, str | Path):
        return TrainedModel.open(given)
    if isinstance(given, TrainedModel):
        return given
    if given.trained is None:
        raise SpecError(f"this forecast of {given.model} was made without keeping its model: fit again")
    return given.trained


def _times(panel: Panel) -> list[tuple[str, pl.Series]]:
    return [(name, pl.Series("ds", times)) for name, times in zip(panel.names, panel.times, strict=True)]


def _forecast(
    trained: TrainedModel, panel: Panel, known: Dataset | pl.DataFrame | None
) -> dict[str, NDArray[np.float64]]:
    """Columns of forecasts (series, horizon) by name, the point forecast first."""
    spec = trained.spec
    with apart():
        network = trained.network()
        if network.MULTIVARIATE and panel.names != trained.series:
            raise DataError(
                f"{trained.model} reads all series together, and was trained on {', '.join(trained.series)}; "
                f"the data have {', '.join(panel.names)}"
            )
        read = panel.last_channels(spec.lookback)
        ahead = np.zeros((len(panel.names), spec.horizon, read.shape[2]))
        # What is past stays at its last value: no model reads it there.
        ahead[:, :, 1 : 1 + len(spec.future_columns)] = _known_ahead(panel, spec.future_columns, spec.horizon, known)
        channels = np.concatenate([read, ahead], axis=1)
        outputs = forecast_windows(network, channels, panel.static, spec, spec.horizon)
        named = list(getattr(network.loss, "output_names", [""]))
    if len(named) != outputs.shape[2]:
        named = [""]
    # NeuralForecast calls the point forecast of quantiles their median.
    suffixes = ["", *named[1:]]
    return {f"{trained.model}{suffix}": outputs[:, :, i] for i, suffix in enumerate(suffixes)}


def _known_ahead(
    panel: Panel, columns: Sequence[str], horizon: int, known: Dataset | pl.DataFrame | None
) -> NDArray[np.float64]:
    """The values (series, horizon, column) of columns known for the rows to forecast."""
    if not columns:
        return np.empty((len(panel.names), horizon, 0))
    if known is None:
        raise DataError(f"known: the model reads {', '.join(columns)}; give their values in the rows to forecast")
    frame = known if isinstance(known, pl.DataFrame) else known.to_polars()
    for column in ("unique_id", "ds", *columns):
        if column not in frame.columns:
            raise DataError(f"known has no column {column!r}. {valid_values(column, frame.columns, noun='column')}")
    wanted = frame.select(pl.col("unique_id").cast(pl.String), "ds", pl.col(columns).cast(pl.Float64))
    parts = []
    for name, times in _times(panel):
        ahead = pl.DataFrame({"ds": times_after(times, horizon, name)})
        given = wanted.filter(unique_id=name).with_columns(pl.col("ds").cast(ahead["ds"].dtype))
        rows = ahead.join(given.unique("ds"), on="ds", how="left", maintain_order="left")
        missing = rows.filter(pl.any_horizontal(pl.col(columns).is_null() | ~pl.col(columns).is_finite()))
        if len(missing):
            raise DataError(
                f"known: series {name!r} lacks {', '.join(columns)} at {missing['ds'][0]} "
                f"({len(missing)} of the {horizon} rows to forecast)"
            )
        parts.append(rows.select(columns).to_numpy())
    return np.stack(parts)


def _plot(
    panel: Panel, index: int, frame: pl.DataFrame, models: Sequence[str], spec: Any, title: str, unit: str
) -> ForecastPlot:
    shown = min(spec.lookback, 3 * spec.horizon)
    recent, name = panel.times[index][-shown:], panel.names[index]
    rows = frame.filter(unique_id=name)
    before: list[float | None] = [None] * len(recent)
    return ForecastPlot(
        title=f"{title}: {name}",
        unit=unit,
        times=[*iso_times(recent), *iso_times(rows["ds"].to_numpy())],
        actual=[*panel.values[index][-shown:].tolist(), *([None] * len(rows))],
        forecasts={model: [*before, *rows[model].to_list()] for model in models},
        cutoff=iso_times(recent)[-1],
    )
