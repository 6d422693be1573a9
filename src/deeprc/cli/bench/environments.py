"""Where the benchmarks find systems whose packages cannot live beside ours.

`make bench-env` makes a virtual environment `.venv-bench-NAME` from each `benchmarks/requirements-NAME.txt`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MAKE = "make bench-env"


def interpreter_with(package: str, environment: str) -> Path | None:
    """A Python that can import `package`: that of `.venv-bench-ENVIRONMENT`, or else this one; None if none can.

    The folder is looked for in `$DEEPRC_BENCH_ENVIRONMENTS`, or else in the working directory.
    """
    root = Path(os.environ.get("DEEPRC_BENCH_ENVIRONMENTS", "."))
    for python in (root.absolute() / f".venv-bench-{environment}" / "bin" / "python", Path(sys.executable)):
        if python.exists() and _can_import(python, package):
            return python
    return None


def _can_import(python: Path, package: str) -> bool:
    # Not an import: some take seconds.
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([str(python), "-c", code], capture_output=True, timeout=60, check=False).returncode == 0
