"""The demo's graph: two branches in one run. `pipelines/demo.yaml` says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeprc.spec.pipeline import Pipeline

BACKTEST: dict[str, Any] = {"horizon": 24, "lookback": 72, "season_length": 24, "windows": 14}
MAX_STEPS = 150
EPOCHS = 20


def pipeline(*, max_steps: int = MAX_STEPS, epochs: int = EPOCHS) -> Pipeline:
    """Flights to eleven forecasts, and river records to a river model, evaluated on what neither has seen.

    Args:
        max_steps: training steps of each forecasting model.
        epochs: of the river model.
    """
    from deeprc.spec.pipeline import Pipeline
    from deeprc.spec.task import TaskSpec
    from deeprc.workloads import demo, forecasting, hydrology

    delays = TaskSpec.of("delays", demo.hourly_delays, ranks=2, comm="mpi")
    fits = [
        TaskSpec.of(
            f"fit-{model}",
            forecasting.fit,
            data=delays,
            model=model,
            **BACKTEST,
            max_steps=max_steps,
            retries=1,
        )
        for model in forecasting.MODELS
    ]
    forecasts = TaskSpec.of(
        "forecasts",
        forecasting.evaluate,
        fits,
        title="Departure delay, last two weeks of the year",
        unit="min",
        max_plots=3,
    )
    rivers = TaskSpec.of("rivers", demo.clean_river_records, ranks=2, comm="gloo")
    model = TaskSpec.of("river-model", hydrology.train_lstm, rivers, ranks=2, comm="mpi", epochs=epochs, retries=1)
    hydrographs = TaskSpec.of("hydrographs", hydrology.evaluate, model, rivers)
    return Pipeline(name="demo", tasks=(delays, *fits, forecasts, rivers, model, hydrographs))
