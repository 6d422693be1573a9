"""The environment of a run: what one has to know to repeat it."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil


def describe_environment() -> dict[str, Any]:
    """Interpreter, machine and the version of every installed package."""
    return {
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "command": sys.argv,
        "working_directory": _working_directory(),
        "packages": dict(sorted((item.metadata["Name"], item.version) for item in distributions())),
    }


def _working_directory() -> str:
    """Or "" where it has been removed since."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""
