"""Run a function on N real ranks and get every rank's result: what distributed tests are built on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

_RANK_MAIN = """
import os, sys, cloudpickle
sys.path[:0] = {path!r}
from deeprc.communicator import Rendezvous, connect
directory, backend, size = {directory!r}, {backend!r}, {size}
rank = int(os.environ.get("PMI_RANK", os.environ.get("TEST_RANK", 0)))
function, args = cloudpickle.load(open(directory + "/call", "rb"))
comm = connect(Rendezvous("test", backend, rank, size, directory, timeout_s=60))
result = function(comm, *args)
comm.close()
cloudpickle.dump(result, open(f"{{directory}}/result{{rank}}", "wb"))
"""


def run_on_ranks(function: Callable[..., Any], *args: Any, size: int, backend: str = "gloo") -> list[Any]:
    """Call `function(comm, *args)` on `size` ranks of `backend`; return the results in rank order."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "call").write_bytes(cloudpickle.dumps((function, args)))
        code = _RANK_MAIN.format(path=sys.path, directory=directory, backend=backend, size=size)
        command = [sys.executable, "-c", code]
        environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
        if backend == "mpi":
            mpiexec = str(Path(sys.executable).with_name("mpiexec"))
            processes = [subprocess.Popen([mpiexec, "-n", str(size), *command], env=environment)]
        else:
            processes = [
                subprocess.Popen(command, env={**environment, "TEST_RANK": str(rank)}) for rank in range(size)
            ]
        codes = [process.wait(timeout=120) for process in processes]
        assert codes == [0] * len(processes), f"ranks ended with {codes}"
        return [cloudpickle.loads((Path(directory) / f"result{rank}").read_bytes()) for rank in range(size)]
