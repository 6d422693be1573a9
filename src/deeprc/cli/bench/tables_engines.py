"""Running one engine of `deeprc bench tables` in a process of its own, timed, or with its memory watched.

Never both at once: to count shared pages rightly the kernel walks all page tables of a process, 24 ms a GiB, on a
core that the engine is not given meanwhile.
"""

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

from deeprc.runtime.process.family import descendants

SCRIPTS = Path(__file__).with_name("engines")
TOO_LONG = "more than"
_SAMPLE_S = 0.01


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
    *,
    watched: bool = False,
) -> list[dict[str, Any]]:
    """Ask the questions once; each answer has rows, sums and its seconds, or peak_bytes where memory is `watched`.

    What has no answer has `failed` with the reason.
    """
    with tempfile.TemporaryDirectory(prefix="deeprc-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        orders = {"tables": dict(tables), "few": dict(few), "questions": list(questions), "cores": variant.cores}
        orders |= {"ranks": variant.ranks, "comm": variant.comm, "folder": str(folder / "run")}
        (folder / "orders.json").write_text(json.dumps(orders))
        script = str(SCRIPTS / f"on_{variant.engine}.py")
        command = [str(python), str(SCRIPTS / "measure.py"), script, "orders.json", "answers.json"]
        problem, samples = _run(command, folder, variant.cores, limit_s, watched)
        file = folder / "answers.json"
        answers: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    answers += [{"question": question, "failed": problem} for question in questions[len(answers) :]]
    return [_measured(answer, samples, watched) for answer in answers]


def _run(
    command: list[str], folder: Path, cores: int, limit_s: float, watched: bool
) -> tuple[str, list[tuple[float, int]]]:
    """What kept it from answering all, or nothing; and the memory held at moments of the monotonic clock."""
    settings = {name: str(cores) for name in ("POLARS_MAX_THREADS", "BODO_NUM_WORKERS", "OMP_NUM_THREADS")}
    settings["POLARS_THP"] = "1"  # Huge pages, as Deep RC gives its ranks.
    # As in an activated environment: MPI, which Bodo starts its workers by, looks for its mpiexec there.
    settings["PATH"] = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", os.defpath)])
    samples: list[tuple[float, int]] = []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **settings}, start_new_session=True
        )
        watch = threading.Thread(target=_watch, args=(process, samples), daemon=True)
        if watched:
            watch.start()
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"{TOO_LONG} {limit_s:.0f} s", samples
        finally:
            _end_group(process)
            if watched:
                watch.join()
    return (folder / "log").read_text(errors="replace")[-600:].strip() or "ended without an answer", samples


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
    return sum(_proportional_bytes(each) for each in (pid, *descendants(pid)))


def _proportional_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass  # It has ended.
    return 0


def _measured(answer: dict[str, Any], samples: list[tuple[float, int]], watched: bool) -> dict[str, Any]:
    if "failed" in answer:
        return answer
    began, ended = answer.pop("began"), answer.pop("ended")
    if not watched:
        return {**answer, "seconds": ended - began}
    during = [size for moment, size in samples if began <= moment <= ended]
    return {**answer, "peak_bytes": max(during, default=None)}
