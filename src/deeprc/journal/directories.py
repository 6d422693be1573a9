"""Where runs are kept."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path


def runs_root() -> Path:
    """The folder that holds run directories: `$DEEPRC_RUNS`, or `deeprc-runs` in the working directory."""
    return Path(os.environ.get("DEEPRC_RUNS", "deeprc-runs")).absolute()


def make_root(folder: Path) -> None:
    """Make a folder for runs in which nobody else may put one run in the place of another, whatever the umask."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)


def new_run_directory(root: Path | None = None) -> Path:
    """Create a run directory that only its owner may enter; its name sorts by time."""
    parent = root or runs_root()
    make_root(parent)
    directory = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    directory.mkdir(mode=0o700)
    return directory
