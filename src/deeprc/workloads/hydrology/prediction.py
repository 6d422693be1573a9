"""Discharge that is not known yet, by a model trained before."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from deeprc.errors import DataError
from deeprc.journal import Hydrograph, record_artifact
from deeprc.spec.imports import checked_by, imports, writes
from deeprc.training.keras import IMPORTS
from deeprc.workloads.frame_files import check_frame_path, write_frame
from deeprc.workloads.hydrology.model import RiverModel
from deeprc.workloads.hydrology.samples import checked_frame

if TYPE_CHECKING:
    from deeprc.bridge import Dataset


def _check_path(arguments: dict[str, Any]) -> None:
    check_frame_path(arguments.get("path"))


@imports(*IMPORTS)
@checked_by(_check_path)
@writes("path")
def predict(
    model: RiverModel | str | Path,
    data: Dataset | pl.DataFrame,
    *,
    path: str | Path | None = None,
    shown_days: int = 60,
    max_plots: int = 6,
) -> pl.DataFrame:
    """Discharge of each river after its last observation; leaves hydrographs for the report.

    A model with `lead_days` reaches that many days past the last observed discharge, one with 0 as far as the weather
    is known. `data` is what the model was trained on, continued: the weather up to the last day wanted, the discharge
    null where it is not known. With a shared scale they may be of rivers that it was not trained on, and without
    `lead_days` of rivers whose discharge was never observed.

    Args:
        model: what `train_lstm` gave, or the path of its weights.
        data: basin, date, the target, the features and the static columns, one row a day.
        path: a `.csv` or `.parquet` file to write the forecasts to as well.
        shown_days: days of each hydrograph, the forecast included.
        max_plots: the number of rivers to draw, the first ones by name.

    Returns:
        basin, date, LSTM [the target's unit], sorted by basin and date.

    Raises:
        DataError: data or weights that the model cannot use, or no day after the last observation that it can forecast.
    """
    check_frame_path(path)
    model = model if isinstance(model, RiverModel) else RiverModel.open(model)
    frame = checked_frame(data, model.setup, target_known=model.setup.lead_days > 0)
    known = frame.filter(pl.col(model.setup.target).is_not_null()).group_by("basin").agg(last=pl.col("date").max())
    simulated = model.predict(data).join(known, on="basin", how="left")
    ahead = simulated.filter(pl.col("last").is_null() | (pl.col("date") > pl.col("last"))).drop("last")
    if ahead.is_empty():
        raise DataError(
            f"no day after the last known {model.setup.target} can be forecast: give the weather "
            f"({', '.join(model.setup.features)}) of the days to forecast in rows of their own, with "
            f"{model.setup.target} null, and no gap in the {model.setup.lookback_days} days before them"
        )
    for (basin,), river in list(ahead.group_by("basin", maintain_order=True))[:max_plots]:
        record_artifact(_hydrograph(str(basin), frame, simulated, river, model, shown_days))
    if path is not None:
        write_frame(ahead, path)
    return ahead


def _hydrograph(
    basin: str, frame: pl.DataFrame, simulated: pl.DataFrame, ahead: pl.DataFrame, model: RiverModel, days: int
) -> Hydrograph:
    last = ahead["date"][-1]
    shown = frame.filter((pl.col("basin") == basin) & pl.col("date").is_between(last - timedelta(days=days), last))
    rows = shown.join(simulated, on=["basin", "date"], how="left").sort("date")
    return Hydrograph(
        title=f"{basin}: forecast from {ahead['date'][0]}",
        unit="mm/day",
        times=[day.isoformat() for day in rows["date"]],
        observed=rows[model.setup.target].to_list(),
        simulated={"LSTM": rows["LSTM"].to_list()},
        precipitation=rows["precipitation"].to_list() if "precipitation" in rows.columns else (),
    )
