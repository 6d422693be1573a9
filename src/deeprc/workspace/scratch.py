"""Where a process puts, while it works, what does not fit in its memory."""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import tempfile
from pathlib import Path

from deeprc.errors import DataError

_scratch: Path | None = None


def scratch_of(run_directory: Path) -> Path:
    """The scratch folder of a run: below DEEPRC_SCRATCH where that is set, as to a node's own disk; else the run's."""
    elsewhere = os.environ.get("DEEPRC_SCRATCH")
    return Path(elsewhere) / f"deeprc-{run_directory.name}" if elsewhere else run_directory / "scratch"


def set_scratch(path: Path | None) -> None:
    """Put temporary files below `path` from now on; a run's ranks use `scratch_of` the run."""
    global _scratch
    _scratch = path


def scratch() -> Path:
    """The folder for temporary files, made if it does not exist, for its owner alone (0700).

    Outside a run it is DEEPRC_SCRATCH, or the system's folder for temporary files.

    Raises:
        DataError: it cannot be made.
    """
    folder = _scratch or Path(os.environ.get("DEEPRC_SCRATCH") or tempfile.gettempdir())
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make the scratch folder {folder}: {error.strerror}. Set DEEPRC_SCRATCH to a folder that can be "
            "written to"
        ) from error
    return folder


def temporary_folder(prefix: str) -> Path:
    """A new folder in the system's place for temporary files, which goes away with this process."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    """A forked child inherits the exit handler, and must not take its parent's files away."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def new_spill_folder() -> Path:
    """A new folder in the scratch folder, named after this process: a run's agent removes it should the process die."""
    return Path(tempfile.mkdtemp(prefix=_spill_prefix(os.getpid()), dir=scratch()))


def remove_spilled(run_directory: Path, pid: int) -> None:
    """Remove the spill folders that a process of this node, which has ended, left in a run's scratch folder."""
    for folder in scratch_of(run_directory).glob(f"{_spill_prefix(pid)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _spill_prefix(pid: int) -> str:
    return f"spill-{platform.node()}-{pid}-"
