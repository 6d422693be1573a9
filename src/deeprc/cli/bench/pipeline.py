"""`deeprc bench pipeline`: the same eleven models as batch jobs and as one Deep RC run, side by side.

a. batch: one fresh process for each model, one after another, on all cores.
b. batch-pairs: fresh processes, as many at a time as there are cores, on one core each.
c. cold: one Deep RC run in a fresh process, from its start to its end.
d. warm: a second run in the session of (c), from the first submission to the last result.

Same data, steps and seeds. Rounds are interleaved, so that a slow minute of the machine meets all four; medians
are reported. Each process writes down what it trained, and all must have the same metrics.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.table import Table

from deeprc.journal.environment import describe_environment
from deeprc.journal.writer import write_json

SETTINGS: dict[str, Any] = {"horizon": 24, "lookback": 72, "season_length": 24, "windows": 1, "max_steps": 20}
VARIANTS = {
    "batch": "a fresh process a model, one after another",
    "batch-pairs": "a fresh process a model, one a core",
    "cold": "one Deep RC run from a cold start",
    "warm": "a second run in the same session",
}
_TIMEOUT_S = 600
_PRIVATE = ("executable", "command", "working_directory")

_JOB = """
import json, sys
data, model, settings, threads, out = sys.argv[1:]
import polars as pl, torch
torch.set_num_threads(int(threads))
from deeprc.workloads.forecasting import fit
forecast = fit(pl.read_ipc(data), model, **json.loads(settings))
json.dump({model: [forecast.seconds, forecast.metrics["MAE"]]}, open(out, "w"))
"""

_RUN = """
import json, sys, time
import deeprc as rc
from deeprc.bridge import Dataset
from deeprc.workloads.forecasting import MODELS, fit
data, settings, cores, directory, out = sys.argv[1:]
def fit_all(session, dataset):
    began = time.perf_counter()
    futures = [session.submit(fit, dataset, model, **json.loads(settings)) for model in MODELS]
    results = {model: future.result() for model, future in zip(MODELS, futures)}
    fits = {model: [result.seconds, result.metrics["MAE"]] for model, result in results.items()}
    return {"seconds": time.perf_counter() - began, "fits": fits}
began = time.perf_counter()
with rc.Session(cores=int(cores), run_dir=directory) as session:
    first = fit_all(session, Dataset.open(data))
    if "warm" in directory:
        first = fit_all(session, Dataset.open(data))
json.dump(first, open(out, "w"))
"""


def main(json_file: Path, *, rounds: int = 3) -> None:
    """Run all variants `rounds` times and write measurements, medians and ratios to `json_file`."""
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="deeprc-bench-") as name:
        folder = Path(name)
        frame_file, manifest = _prepare(folder)
        runners: dict[str, Callable[[], dict[str, Any]]] = {
            "batch": lambda: _batch(frame_file, folder, at_once=1),
            "batch-pairs": lambda: _batch(frame_file, folder, at_once=_cores()),
            "cold": lambda: _session(manifest, folder, "cold"),
            "warm": lambda: _session(manifest, folder, "warm"),
        }
        measured: dict[str, list[dict[str, Any]]] = {variant: [] for variant in VARIANTS}
        for number in range(1, rounds + 1):
            for variant, runner in runners.items():
                measured[variant].append(runner())
                console.print(f"round {number} of {rounds}: {variant:12} {measured[variant][-1]['seconds']:7.2f} s")
    _check_same_metrics(measured)
    result = _result(measured)
    json_file.parent.mkdir(parents=True, exist_ok=True)
    write_json(json_file, result)
    Console().print(_table(result))


def _prepare(folder: Path) -> tuple[Path, Path]:
    """The demo's series, as a file for the batch jobs and as a dataset for Deep RC."""
    from deeprc.bridge import Dataset, set_dataset_root
    from deeprc.communicator import SoloCommunicator
    from deeprc.workloads.demo import hourly_delays

    set_dataset_root(folder)
    frame = hourly_delays(SoloCommunicator()).to_polars().select("unique_id", "ds", "y")
    frame.write_ipc(folder / "series.arrow")
    return folder / "series.arrow", Path(Dataset.from_polars(frame, name="series").manifest)


def _batch(data: Path, folder: Path, *, at_once: int) -> dict[str, Any]:
    """Fresh processes, `at_once` at a time; each takes an equal share of the cores."""
    from deeprc.workloads.forecasting import MODELS

    threads = max(1, _cores() // at_once)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "POLARS_MAX_THREADS": str(threads)}
    waiting = list(MODELS)
    running: list[tuple[subprocess.Popen[bytes], BinaryIO]] = []
    began = time.perf_counter()
    while waiting or running:
        while waiting and len(running) < at_once:
            model = waiting.pop(0)
            command = [str(data), model, json.dumps(SETTINGS), str(threads), str(folder / f"{model}.json")]
            log = (folder / f"{model}.log").open("wb")
            running.append((_start([sys.executable, "-c", _JOB, *command], log, environment), log))
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        for job in [job for job in running if job[0].poll() is not None]:
            _check_ended_well(*job)
            running.remove(job)
    seconds = time.perf_counter() - began
    fits: dict[str, Any] = {}
    for model in MODELS:
        fits |= json.loads((folder / f"{model}.json").read_text())
    return {"seconds": seconds, "fits": fits}


def _session(manifest: Path, folder: Path, variant: str) -> dict[str, Any]:
    """A fresh process with one session; (c) is timed from outside, (d) inside, from its second submission."""
    out = folder / "run.json"
    directory = tempfile.mkdtemp(prefix=f"{variant}-", dir=folder)
    command = [str(manifest), json.dumps(SETTINGS), str(_cores()), directory, str(out)]
    began = time.perf_counter()
    with (folder / "run.log").open("wb") as log:
        process = _start([sys.executable, "-c", _RUN, *command], log, dict(os.environ))
        process.wait(_TIMEOUT_S)
        seconds = time.perf_counter() - began
        _check_ended_well(process, log)
    result: dict[str, Any] = json.loads(out.read_text())
    return result if variant == "warm" else {**result, "seconds": seconds}


def _start(command: list[str], log: BinaryIO, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def _check_ended_well(process: subprocess.Popen[bytes], log: BinaryIO) -> None:
    log.close()
    if process.returncode:
        output = Path(log.name).read_text(errors="replace")[-2000:]
        raise RuntimeError(f"a process of the benchmark ended with exit code {process.returncode}:\n{output}")


def _check_same_metrics(measured: dict[str, list[dict[str, Any]]]) -> None:
    """All variants must have trained the same models; thread counts change the last digits."""
    reference = measured["cold"][0]["fits"]
    for variant, runs in measured.items():
        for run in runs:
            for model, (_, error) in run["fits"].items():
                expected = reference[model][1]
                if abs(error - expected) > 0.02 * expected:
                    raise RuntimeError(f"{variant}: {model} has MAE {error:.4f}, and {expected:.4f} in the cold run")


def _result(measured: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    seconds = {variant: [run["seconds"] for run in runs] for variant, runs in measured.items()}
    median = {variant: statistics.median(values) for variant, values in seconds.items()}
    training = [sum(fit[0] for fit in run["fits"].values()) for run in measured["warm"]]
    pure = statistics.median(training) / _cores()
    return {
        "benchmark": "pipeline",
        "settings": SETTINGS,
        "cores": _cores(),
        "variants": VARIANTS,
        "rounds": measured,
        "median_seconds": median,
        "training_seconds_over_cores": pure,
        "ratios": {
            "batch / cold": median["batch"] / median["cold"],
            "batch-pairs / cold": median["batch-pairs"] / median["cold"],
            "batch / warm": median["batch"] / median["warm"],
            "cold / training over cores": median["cold"] / pure,
            "warm / training over cores": median["warm"] / pure,
        },
        # Not where the interpreter lies: these files are published.
        "environment": {key: value for key, value in describe_environment().items() if key not in _PRIVATE},
    }


def _table(result: dict[str, Any]) -> Table:
    table = Table(title=f"Eleven models, {SETTINGS['max_steps']} steps each, {result['cores']} cores")
    for column in ("variant", "median [s]", "against batch"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    batch = result["median_seconds"]["batch"]
    for variant, seconds in result["median_seconds"].items():
        table.add_row(f"{variant}: {VARIANTS[variant]}", f"{seconds:.2f}", f"{batch / seconds:.1f} x")
    pure = result["training_seconds_over_cores"]
    table.add_row("pure training time over the cores", f"{pure:.2f}", f"{batch / pure:.1f} x")
    return table


def _cores() -> int:
    return len(os.sched_getaffinity(0))
