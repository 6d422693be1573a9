"""Running one engine of `deeprc bench tables` in a process of its own, while its memory is watched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SCRIPTS = Path(__file__).with_name("engines")
_SAMPLE_S = 0.05


@dataclass(frozen=True)
class Variant:
    """An engine as it is measured; `ranks` and `comm` are Deep RC's."""

    name: str
    engine: str
    cores: int
    ranks: int = 1
    comm: str = "solo"

    @property
    def is_slow(self) -> bool:
        """Takes so long that it takes part in fewer rounds."""
        return self.engine in ("dask", "daft", "bodo")


def variants(cores: int) -> list[Variant]:
    """All engines on all cores: Deep RC on one rank, and on one rank a core over MPI and GLOO."""
    ours = [Variant("deeprc-1", "deeprc", cores)]
    ours += [Variant(f"deeprc-{cores}-{comm}", "deeprc", cores, cores, comm) for comm in ("mpi", "gloo")]
    others = [Variant(name, name, cores) for name in ("duckdb", "dask", "daft", "bodo")]
    return [Variant("polars", "polars", cores), *(ours if cores > 1 else ours[:1]), *others]


def interpreter(engine: str, environments: Path) -> Path | None:
    """The Python that has the engine, or None where its environment has not been built."""
    if engine in ("polars", "deeprc"):
        return Path(sys.executable)
    found = environments.absolute() / f".venv-bench-{engine}" / "bin" / "python"
    return found if found.exists() else None


def remedy(engine: str) -> str:
    """The command that builds the engine's environment."""
    return f"make bench-env  # builds .venv-bench-{engine} from benchmarks/requirements-{engine}.txt"


def measure(
    variant: Variant,
    python: Path,
    tables: Mapping[str, str],
    few: Mapping[str, str],
    questions: Sequence[str],
    limit_s: float,
) -> list[dict[str, Any]]:
    """Ask the questions once; each answer has seconds, peak_bytes, rows and sums, or `failed` with the reason."""
    with tempfile.TemporaryDirectory(prefix="deeprc-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        orders = {"tables": dict(tables), "few": dict(few), "questions": list(questions), "cores": variant.cores}
        orders |= {"ranks": variant.ranks, "comm": variant.comm, "folder": str(folder / "run")}
        (folder / "orders.json").write_text(json.dumps(orders))
        script = str(SCRIPTS / f"on_{variant.engine}.py")
        command = [str(python), str(SCRIPTS / "measure.py"), script, "orders.json", "answers.json"]
        problem, samples = _run(command, folder, variant.cores, limit_s)
        if problem:
            return [{"question": question, "failed": problem} for question in questions]
        answers: list[dict[str, Any]] = json.loads((folder / "answers.json").read_text())
    return [_with_peak(answer, samples) for answer in answers]


def _run(command: list[str], folder: Path, cores: int, limit_s: float) -> tuple[str, list[tuple[float, int]]]:
    threads = {"POLARS_MAX_THREADS": str(cores), "BODO_NUM_WORKERS": str(cores), "OMP_NUM_THREADS": str(cores)}
    samples: list[tuple[float, int]] = []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **threads}, start_new_session=True
        )
        watch = threading.Thread(target=_watch, args=(process, samples), daemon=True)
        watch.start()
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"more than {limit_s:.0f} s", samples
        finally:
            _end_group(process)
            watch.join()
    if not (folder / "answers.json").exists():
        return (folder / "log").read_text(errors="replace")[-600:].strip() or "ended without an answer", samples
    return "", samples


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """The engine and the workers that it may have left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _watch(process: subprocess.Popen[bytes], samples: list[tuple[float, int]]) -> None:
    while process.poll() is None:
        samples.append((time.monotonic(), _resident_bytes(process.pid)))
        time.sleep(_SAMPLE_S)


def _resident_bytes(pid: int) -> int:
    """Memory of a process and all below it; a page that several share counts once, in equal parts."""
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_proportional_bytes(process.pid) for process in tree)


def _proportional_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass  # It has ended.
    return 0


def _with_peak(answer: dict[str, Any], samples: list[tuple[float, int]]) -> dict[str, Any]:
    if "failed" in answer:
        return answer
    began, ended = answer.pop("began"), answer.pop("ended")
    during = [size for moment, size in samples if began <= moment <= ended]
    return {**answer, "seconds": ended - began, "peak_bytes": max(during, default=None)}
