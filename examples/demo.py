"""The demo as a script: the same graph as `pipelines/demo.yaml`, written with futures."""

import deeprc as rc
from deeprc.workloads import demo, forecasting, hydrology

with rc.Session(name="demo") as session:
    delays = session.submit(demo.hourly_delays, ranks=2, comm="mpi", name="delays")
    fits = [
        session.submit(
            forecasting.fit,
            delays,
            model,
            horizon=24,
            lookback=72,
            season_length=24,
            windows=14,
            max_steps=150,
            retries=1,
            name=f"fit-{model}",
        )
        for model in forecasting.MODELS
    ]
    scores = session.submit(
        forecasting.evaluate,
        fits,
        title="Departure delay, last two weeks of the year",
        unit="min",
        max_plots=3,
        name="forecasts",
    )

    rivers = session.submit(demo.clean_river_records, ranks=2, comm="gloo", name="rivers")
    model = session.submit(hydrology.train_lstm, rivers, ranks=2, comm="mpi", epochs=20, retries=1, name="river-model")
    hydrographs = session.submit(hydrology.evaluate, model, rivers, name="hydrographs")

    for name, metrics in scores.result().items():
        print(f"{name:20} MAE {metrics['MAE']:.2f} min, MASE {metrics['MASE']:.3f}")
    for score in hydrographs.result().scores:
        print(f"{score.basin:10} {score.simulation:12} NSE {score.nse:.3f}, KGE {score.kge:.3f}")
print(f"The run is in {session.run_directory}; `deeprc report last` makes its page.")
