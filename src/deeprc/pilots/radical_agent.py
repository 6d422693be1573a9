"""What RADICAL-Pilot starts on each node: says what is there, then becomes the agent.

`python radical_agent.py CONFIG INDEX`, with nothing but the standard library: where to find the rest is in CONFIG.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_PR_SET_PDEATHSIG = 1
_REACH_DRIVER_S = 10.0
# As in deeprc.runtime.process.devices, which is not there yet.
_CORES_VARIABLE = "DEEPRC_CORES"
# They tell how this very process was started; MPI would take that for the way to start ranks.
_LAUNCHER_PREFIXES = ("RP_", "PMI_", "PMIX_", "OMPI_", "PRTE_", "HYDRA_", "SLURM_", "SLURMD_", "SBATCH_", "SRUN_")


def main() -> None:
    config: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    index = int(sys.argv[2])
    node = _claimed_name(Path(config["announcements"]))
    share = int(config["agents_per_host"])
    found = {
        "index": index,
        "node": node,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "cores": config["cores"] or max(1, len(os.sched_getaffinity(0)) // share),
        "gpus": _visible_gpus() if share == 1 else 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // share,
        "error": _why_driver_is_unreachable(config["driver"]),
    }
    _write(Path(config["announcements"]) / f"{node}.json", json.dumps(found))
    if found["error"]:
        sys.exit(str(found["error"]))
    _hold_standard_input()
    # RADICAL-Pilot ends a task by ending the shell around it; the agent then ends its ranks in good order.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.chdir(config["working_directory"])
    here = {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHER_PREFIXES)}
    agent = [sys.executable, "-m", "deeprc.runtime.agent", config["run_directory"], node, str(found["cores"])]
    held = config["held_cores"]
    pinned = {} if held is None else {_CORES_VARIABLE: ",".join(map(str, held[index]))}
    os.execve(sys.executable, agent, {**here, **config["environment"], **pinned})


def _claimed_name(announcements: Path) -> str:
    """This host's name, with a number where its name is taken: RADICAL-Pilot may take one host for several nodes."""
    host = socket.gethostname().partition(".")[0]
    number = 1
    while True:
        name = host if number == 1 else f"{host}-{number}"
        try:
            os.close(os.open(announcements / f"{name}.claim", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            number += 1
        else:
            return name


def _why_driver_is_unreachable(address: str) -> str | None:
    """Without this, a firewall, or an address that only a login node knows, would show as silence."""
    target = urlsplit(address)
    try:
        socket.create_connection((target.hostname or "", target.port or 0), timeout=_REACH_DRIVER_S).close()
    except OSError as error:
        return f"the driver at {address} is not reached from there: {error}; give RadicalPilot the address: host=..."
    return None


def _hold_standard_input() -> None:
    """An agent ends when its standard input does; RADICAL-Pilot gives it one that ends at once."""
    read, write = os.pipe()
    os.dup2(read, 0)
    os.close(read)
    os.set_inheritable(write, True)


def _visible_gpus() -> int:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=10, check=False)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.rename(path)


if __name__ == "__main__":
    main()
