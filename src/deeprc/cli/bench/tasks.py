"""`deeprc bench tasks`: small tasks on Deep RC and on other systems, one after another, in interleaved rounds.

Each measurement is a fresh process of the interpreter that has the system, under a time limit; what is not installed,
or fails, is reported as not measured, with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deeprc.cli.bench.environments import MAKE, interpreter_with
from deeprc.journal.environment import describe_environment
from deeprc.journal.writer import write_json
from deeprc.pilots.leftovers import end_processes_in

_PRIVATE = ("executable", "command", "working_directory")
_SCRIPTS = Path(__file__).with_name("systems")
_GRAPH_TIMEOUT_S = 240.0


@dataclass(frozen=True)
class System:
    """How a system is measured: `tasks` at once, `rounds` of all at the most, within `timeout_s` a round."""

    title: str
    package: str
    environment: str
    tasks: int
    trips: int = 300
    rounds: int = 99
    timeout_s: float = 60.0


SYSTEMS = {
    "deeprc": System("Deep RC", "deeprc", "deeprc", 5000),
    "ray": System("Ray", "ray", "ray", 3000),
    "dask": System("Dask distributed", "distributed", "dask", 2000, timeout_s=90.0),
    "parsl": System("Parsl HighThroughputExecutor", "parsl", "parsl", 2000, timeout_s=90.0),
    "raptor": System("RADICAL-Pilot RAPTOR", "radical.pilot", "radical", 500, trips=100, rounds=1, timeout_s=240.0),
    "processpool": System("bare ProcessPoolExecutor (the limit)", "deeprc", "deeprc", 5000),
}
_COMPETITORS = ("ray", "dask", "parsl", "raptor")


def main(json_file: Path, *, rounds: int = 3) -> None:
    """Measure everything and write measurements, medians and ratios to `json_file`."""
    console = Console(stderr=True)
    missing: dict[str, str] = {}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SYSTEMS}
    own: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="deeprc-bench-", ignore_cleanup_errors=True) as folder:
        interpreters = _interpreters(missing)
        for number in range(rounds):
            for name in [name for name in interpreters if number < SYSTEMS[name].rounds and name not in missing]:
                try:
                    rows[name].append(_small_tasks(name, interpreters[name], Path(folder)))
                except RuntimeError as error:
                    missing[name] = str(error)
                console.print(f"round {number + 1} of {rounds}: {name:12} {_said(rows[name], missing.get(name))}")
            if number == 0:
                own.append(_gangs_and_graphs(Path(folder)))
    result = _result(rows, own[0], missing)
    json_file.parent.mkdir(parents=True, exist_ok=True)
    write_json(json_file, result)
    Console().print(_table(result))


def _interpreters(missing: dict[str, str]) -> dict[str, Path]:
    found = {}
    for name, system in SYSTEMS.items():
        python = interpreter_with(system.package, system.environment)
        if python is None:
            missing[name] = f"{system.package} is not installed: `{MAKE}` brings it"
        else:
            found[name] = python
    return found


def _small_tasks(name: str, python: Path, folder: Path) -> dict[str, Any]:
    system = SYSTEMS[name]
    arguments = [name, str(_cores()), str(system.tasks), str(system.trips)]
    return _run(python, "small_tasks.py", arguments, folder, system.timeout_s)


def _gangs_and_graphs(folder: Path) -> dict[str, Any]:
    return _run(Path(sys.executable), "gangs_and_graphs.py", [str(_cores())], folder, _GRAPH_TIMEOUT_S)


def _run(python: Path, script: str, arguments: list[str], folder: Path, timeout_s: float) -> dict[str, Any]:
    """What a script has written to its file; the script and all it has started are ended.

    Raises:
        RuntimeError: it failed, or took too long.
    """
    file, log = folder / "result.json", folder / "log"
    file.unlink(missing_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), str(_SCRIPTS / script), *arguments, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**_activated(python), "PWD": str(folder), "RADICAL_BASE": str(folder)},
            start_new_session=True,
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            # It may have measured, and hang while it closes.
            if not file.exists():
                raise RuntimeError(f"no result within {timeout_s:.0f} s") from None
        finally:
            _end_group(process)
            # Daemons of their own groups, as RADICAL-Pilot starts, work below the folder.
            end_processes_in(folder)
    if not file.exists():
        raise RuntimeError(f"exit code {process.returncode}: {_last_line(log)}")
    result: dict[str, Any] = json.loads(file.read_text())
    return result


def _activated(python: Path) -> dict[str, str]:
    """As in a shell that has activated the interpreter's environment: some start programs that lie beside it."""
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": str(python.parent.parent)}


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


def _said(rows: list[dict[str, Any]], why: str | None) -> str:
    if why is not None or not rows:
        return f"not measured: {why}"
    rate = statistics.median(rows[-1]["tasks_per_second"])
    return f"{rate:8.0f} tasks/s, round trip {rows[-1]['round_trip_ms']:.3f} ms"


def _result(rows: dict[str, list[dict[str, Any]]], own: dict[str, Any], missing: dict[str, str]) -> dict[str, Any]:
    medians = {
        name: {
            "tasks_per_second": statistics.median(rate for row in found for rate in row["tasks_per_second"]),
            "round_trip_ms": statistics.median(row["round_trip_ms"] for row in found),
            "start_seconds": statistics.median(row["start_seconds"] for row in found),
        }
        for name, found in rows.items()
        if found
    }
    ours = medians["deeprc"]
    others = {name: medians[name] for name in _COMPETITORS if name in medians}
    best = max(others, key=lambda name: others[name]["tasks_per_second"], default=None)
    return {
        "benchmark": "tasks",
        "cores": _cores(),
        "systems": {name: system.title for name, system in SYSTEMS.items()},
        "tasks_at_once": {name: system.tasks for name, system in SYSTEMS.items()},
        "rounds": rows,
        "medians": medians,
        "gangs_and_graphs": own,
        "best_competitor": best,
        "ratios": {
            f"deeprc / {name}": ours["tasks_per_second"] / other["tasks_per_second"] for name, other in others.items()
        },
        "not_measured": missing,
        # Not where the interpreter lies: these files are published.
        "environment": {key: value for key, value in describe_environment().items() if key not in _PRIVATE},
    }


def _table(result: dict[str, Any]) -> Table:
    table = Table(title=f"No-op tasks of one rank, {result['cores']} cores")
    for column in ("system", "tasks/s", "round trip [ms]", "start [s]"):
        table.add_column(column, justify="left" if column == "system" else "right")
    for name, row in result["medians"].items():
        numbers = (f"{row['tasks_per_second']:.0f}", f"{row['round_trip_ms']:.2f}", f"{row['start_seconds']:.1f}")
        table.add_row(result["systems"][name], *numbers)
    for name, why in result["not_measured"].items():
        table.add_row(result["systems"][name], "not measured", why[:60], "")
    own = result["gangs_and_graphs"]
    table.caption = (
        f"two ranks warm: gloo {own['warm_gloo_ms']:.1f} ms, mpi {own['warm_mpi_ms']:.1f} ms; fresh rank with torch "
        f"{own['fresh_rank_ms']:.0f} ms; fresh MPI world of two {own['fresh_mpi_world_ms']:.0f} ms; graph of "
        f"{own['graph']['tasks']}: {own['graph']['tasks_per_second']:.0f} tasks/s, "
        f"{own['graph']['bytes_per_waiting_task']:.0f} bytes a waiting task"
    )
    return table


def _cores() -> int:
    return len(os.sched_getaffinity(0))
