"""Where runs are kept."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path


def runs_root() -> Path:
    """The folder that holds run directories: `$DEEPRC_RUNS`, or `deeprc-runs` in the working directory."""
    return Path(os.environ.get("DEEPRC_RUNS", "deeprc-runs")).absolute()


def new_run_directory(root: Path | None = None) -> Path:
    """Create a run directory that only its owner may enter; its name sorts by time."""
    parent = root or runs_root()
    parent.mkdir(parents=True, exist_ok=True)
    directory = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    directory.mkdir(mode=0o700)
    return directory
