"""Processes that a system has started and not ended: daemons in sessions of their own, known by where they work."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import psutil


def processes_in(directory: Path) -> list[psutil.Process]:
    """This machine's other processes whose working directory is `directory` or below it, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            inside = Path(process.cwd().removesuffix(" (deleted)")).is_relative_to(directory)
            if inside and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            # It has just ended, or is another user's.
            continue
    return found


def end_processes_in(directory: Path, limit_s: float = 10.0) -> None:
    """End them, and those they start meanwhile."""
    end = time.monotonic() + limit_s
    while remaining := processes_in(directory):
        for process in remaining:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(remaining, timeout=1)
        if time.monotonic() > end:
            warnings.warn(f"processes {[p.pid for p in remaining]} below {directory} do not end", stacklevel=2)
            return


def start_removal(directory: Path, *, after: int, limit_s: float) -> None:
    """Have a process of its own remove `directory` with all that works in it, once process `after` has ended."""
    command = [sys.executable, "-m", "deeprc.pilots.leftovers", str(directory), str(after), str(limit_s)]
    subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, start_new_session=True)


def main() -> None:
    directory, after, limit_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    with contextlib.suppress(psutil.Error):
        psutil.Process(after).wait(limit_s)
    end_processes_in(directory)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
