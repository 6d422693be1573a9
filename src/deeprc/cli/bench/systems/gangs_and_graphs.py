"""What only Deep RC is measured on: gangs, fresh ranks and a large graph. `python gangs_and_graphs.py CORES FILE`"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deeprc as rc
from deeprc.spec.imports import imports

_GANG_REPEATS = 30
_FRESH_REPEATS = 10
_GRAPH_TASKS = 100_000
_GRAPH_WIDTH = 1000


def meet(comm: rc.Communicator) -> int:
    """Two ranks that use their communicator."""
    return sum(comm.all_gather(1))


@imports("torch")
def torch_is_there() -> bool:
    return "torch" in sys.modules


def wait_for(file: str) -> int:
    while not Path(file).exists():
        time.sleep(0.05)
    return 0


def successor(before: int) -> int:
    return before + 1


def _median_ms(call: Callable[[], Any], repeats: int) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def gangs(session: rc.Session) -> dict[str, float]:
    """Milliseconds from submission to result."""
    return {
        "warm_gloo_ms": _median_ms(lambda: session.submit(meet, ranks=2, comm="gloo").result(), _GANG_REPEATS),
        "warm_mpi_ms": _median_ms(lambda: session.submit(meet, ranks=2, comm="mpi").result(), _GANG_REPEATS),
        "fresh_rank_ms": _median_ms(lambda: session.submit(torch_is_there, isolated=True).result(), _FRESH_REPEATS),
        "fresh_mpi_world_ms": _median_ms(
            lambda: session.submit(meet, ranks=2, comm="mpi", isolated=True).result(), _FRESH_REPEATS
        ),
    }


def graph(session: rc.Session, gate: Path) -> dict[str, float]:
    """100,000 tasks in layers of 1,000 that wait for a first one: memory while all wait, then the time they take."""
    first = session.submit(wait_for, str(gate))
    before = _resident_bytes()
    began = time.perf_counter()
    layer = [session.submit(successor, first) for _ in range(_GRAPH_WIDTH)]
    for _ in range(_GRAPH_TASKS // _GRAPH_WIDTH - 1):
        layer = [session.submit(successor, need) for need in layer]
    submitted = time.perf_counter()
    # The driver's thread may still have to take in the last of them.
    time.sleep(1.0)
    waiting = _resident_bytes() - before
    began_running = time.perf_counter()
    gate.touch()
    values = {future.result() for future in layer}
    ended = time.perf_counter()
    if values != {_GRAPH_TASKS // _GRAPH_WIDTH}:
        raise RuntimeError(f"a graph of {_GRAPH_TASKS} tasks gave {values}")
    return {
        "tasks": _GRAPH_TASKS,
        "submit_seconds": submitted - began,
        "run_seconds": ended - began_running,
        "tasks_per_second": _GRAPH_TASKS / (ended - began_running),
        "bytes_per_waiting_task": waiting / _GRAPH_TASKS,
        "bytes_kept_after_run": max(0, _resident_bytes() - before),
    }


def main() -> None:
    """Measure on as many cores as the first argument says."""
    cores, file = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, rc.Session(cores=int(cores), run_dir=f"{folder}/run") as session:
        result = gangs(session)
        result["graph"] = graph(session, Path(folder) / "gate")  # type: ignore[assignment]
        Path(file).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
