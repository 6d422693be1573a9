"""No-op tasks on one system: `python small_tasks.py SYSTEM CORES TASKS TRIPS FILE` writes what was measured to FILE.

Each system is started with one worker process a core and the settings that make it fastest; then the same is done
with all: some tasks to warm up, TASKS tasks submitted at once and waited for, three times, and TRIPS single ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Submits so many no-op tasks, and returns a function that waits for all of them.
Submit = Callable[[int], Callable[[], Any]]
_REPEATS = 3


def nothing() -> None:
    """The task."""


@contextlib.contextmanager
def deeprc(cores: int) -> Iterator[Submit]:
    import deeprc as rc

    with tempfile.TemporaryDirectory() as folder, rc.Session(cores=cores, run_dir=f"{folder}/run") as session:

        def submit(count: int) -> Callable[[], Any]:
            futures = [session.submit(nothing) for _ in range(count)]
            return lambda: [future.result() for future in futures]

        yield submit


@contextlib.contextmanager
def processpool(cores: int) -> Iterator[Submit]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(cores) as pool:

        def submit(count: int) -> Callable[[], Any]:
            futures = [pool.submit(nothing) for _ in range(count)]
            return lambda: [future.result() for future in futures]

        yield submit


@contextlib.contextmanager
def ray(cores: int) -> Iterator[Submit]:
    import ray as ray_

    ray_.init(num_cpus=cores, include_dashboard=False, logging_level="error", log_to_driver=False)
    remote = ray_.remote(nothing)

    def submit(count: int) -> Callable[[], Any]:
        references = [remote.remote() for _ in range(count)]
        return lambda: ray_.get(references)

    try:
        yield submit
    finally:
        ray_.shutdown()


@contextlib.contextmanager
def dask(cores: int) -> Iterator[Submit]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=cores, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        Client(cluster) as client,
    ):

        def submit(count: int) -> Callable[[], Any]:
            futures = [client.submit(nothing, pure=False) for _ in range(count)]
            return lambda: client.gather(futures)

        yield submit


@contextlib.contextmanager
def parsl(cores: int) -> Iterator[Submit]:
    import parsl as parsl_
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    executor = HighThroughputExecutor(
        address="127.0.0.1",
        max_workers_per_node=cores,
        # Tasks that a node's manager may hold ahead of its workers.
        prefetch_capacity=64,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        configuration = Config(executors=[executor], run_dir=folder, strategy="none", initialize_logging=False)
        with parsl_.load(configuration):
            app = parsl_.python_app(nothing)

            def submit(count: int) -> Callable[[], Any]:
                futures = [app() for _ in range(count)]
                return lambda: [future.result() for future in futures]

            yield submit


@contextlib.contextmanager
def raptor(cores: int) -> Iterator[Submit]:
    _let_raptor_find_mpi(Path.cwd())
    import radical.pilot as rp

    session = rp.Session()
    try:
        pilots, tasks = rp.PilotManager(session=session), rp.TaskManager(session=session)
        # The master and the worker's first rank, which hands out tasks, have a core each of those that are pretended.
        described = {"resource": "local.localhost", "runtime": 10, "cores": cores + 2, "sandbox": str(Path.cwd())}
        pilot = pilots.submit_pilots(rp.PilotDescription(described))
        tasks.add_pilots(pilot)
        master = pilot.submit_raptors([rp.TaskDescription({"mode": rp.RAPTOR_MASTER})])[0]
        # RAPTOR's other worker starts a process for each task, which on 2 cores gives 4 tasks a second.
        worker = {"mode": rp.RAPTOR_WORKER, "raptor_class": "MPIWorker", "ranks": cores + 1, "cores_per_rank": 1}
        [worker_task] = master.submit_workers([rp.TaskDescription(worker)])
        function = rp.PythonTask(nothing, (), {})
        ended = Endings(rp.FINAL)
        # Its own wait looks ten times a second only.
        tasks.register_callback(ended)

        def submit(count: int) -> Callable[[], Any]:
            description = {"mode": rp.TASK_FUNCTION, "function": function}
            submitted = master.submit_tasks([rp.TaskDescription(description) for _ in range(count)])
            return lambda: ended.wait([task.uid for task in submitted], worker_task.uid)

        yield submit
    finally:
        session.close(download=False)


class Endings:
    """The tasks of RADICAL-Pilot that have ended, told by its callbacks."""

    def __init__(self, final: Sequence[str]) -> None:
        self._final = final
        self._states: dict[str, str] = {}
        self._news = threading.Condition()

    def __call__(self, task: Any, state: str, *_: Any) -> None:
        if state in self._final:
            with self._news:
                self._states[task.uid] = state
                self._news.notify_all()

    def wait(self, tasks: list[str], worker: str) -> None:
        """Until all have succeeded; RuntimeError if one has not, or if the worker has ended."""
        with self._news:
            self._news.wait_for(lambda: worker in self._states or self._states.keys() >= set(tasks))
            states = {self._states.get(task) for task in tasks}
        if states != {"DONE"}:
            raise RuntimeError(f"RAPTOR's tasks ended as {states}, its worker as {self._states.get(worker)}")


def _let_raptor_find_mpi(folder: Path) -> None:
    """RADICAL-Pilot looks for mpiexec in the environment of a login shell, which has not activated ours."""
    configuration = folder / ".radical" / "pilot" / "configs" / "resource_local.json"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    activate = f"export PATH={Path(sys.executable).parent}:$PATH"
    methods = {"order": ["FORK", "MPIEXEC"], "FORK": {}, "MPIEXEC": {"pre_exec_cached": [activate]}}
    configuration.write_text(json.dumps({"localhost": {"launch_methods": methods}}))
    os.environ["RADICAL_CONFIG_USER_DIR"] = str(folder)


SYSTEMS: dict[str, Callable[[int], contextlib.AbstractContextManager[Submit]]] = {
    "deeprc": deeprc,
    "processpool": processpool,
    "ray": ray,
    "dask": dask,
    "parsl": parsl,
    "raptor": raptor,
}


def measured(submit: Submit, tasks: int, trips: int) -> dict[str, Any]:
    """Tasks a second, and the milliseconds of single tasks."""
    submit(min(100, tasks))()
    rates = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        submit(tasks)()
        rates.append(tasks / (time.perf_counter() - began))
    milliseconds = []
    for _ in range(trips):
        began = time.perf_counter()
        submit(1)()
        milliseconds.append(1000 * (time.perf_counter() - began))
    return {"tasks_per_second": rates, "round_trip_ms": statistics.median(milliseconds)}


def main() -> None:
    """Measure the system that the arguments name."""
    system, cores, tasks, trips, file = sys.argv[1:]
    began = time.perf_counter()
    with SYSTEMS[system](int(cores)) as submit:
        submit(1)()
        started = time.perf_counter() - began
        result = {"start_seconds": started, **measured(submit, int(tasks), int(trips))}
        Path(file).write_text(json.dumps(result))
    # Some leave threads behind that would keep this process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
