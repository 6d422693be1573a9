"""Where a process puts, while it works, what does not fit in its memory."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
from pathlib import Path

from deeprc.errors import DataError

_scratch: Path | None = None
_ATTEMPTS = 5


def scratch_of(run_directory: Path) -> Path:
    """The scratch folder of a run: below DEEPRC_SCRATCH where that is set, as to a node's own disk; else the run's."""
    elsewhere = os.environ.get("DEEPRC_SCRATCH")
    if not elsewhere:
        return run_directory / "scratch"
    # Two runs may be called alike, and the first to end removes its own: restarts of jobs are all called 1, 2...
    place = hashlib.blake2b(os.fsencode(run_directory.absolute()), digest_size=4).hexdigest()
    return Path(elsewhere) / f"deeprc-{run_directory.name}-{place}"


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
    """A new folder in the system's place for temporary files, named after this process, with which it goes away."""
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    """A forked child inherits the exit handler, and must not take its parent's files away."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def new_spill_folder() -> Path:
    """A new folder in the scratch folder, named after this process: a run's agent removes it should the process die."""
    owner = f"{_spill_prefix(os.getpid())}{started(os.getpid())}-"
    for _ in range(_ATTEMPTS):
        # While it is empty the scratch folder looks abandoned, and another run's agent may remove it.
        with contextlib.suppress(FileNotFoundError):
            return Path(tempfile.mkdtemp(prefix=owner, dir=scratch()))
    return Path(tempfile.mkdtemp(prefix=owner, dir=scratch()))


def remove_spilled(run_directory: Path, pid: int) -> None:
    """Remove the spill folders that a process of this node, which has ended, left in a run's scratch folder."""
    for folder in scratch_of(run_directory).glob(f"{_spill_prefix(pid)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned_spilled(run_directory: Path) -> None:
    """Remove the spill folders of this node's processes that live no more, of this run and of those beside it.

    They are left where an agent has been killed together with its ranks.
    """
    own = scratch_of(run_directory)
    below = own.parent.glob("deeprc-*") if os.environ.get("DEEPRC_SCRATCH") else own.parent.parent.glob("*/scratch")
    for scratch_folder in below:
        for folder in scratch_folder.glob(f"{_spill_prefix()}*-*-*"):
            pid, start = folder.name.removeprefix(_spill_prefix()).split("-")[:2]
            if started(int(pid)) != start:
                shutil.rmtree(folder, ignore_errors=True)
        if scratch_folder != own:
            # Only if nothing is in it.
            with contextlib.suppress(OSError):
                scratch_folder.rmdir()


def started(pid: int) -> str:
    """When a process started, in the kernel's ticks; "0" where that is not told, "gone" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "gone" if Path("/proc/self/stat").exists() else "0"


def _spill_prefix(pid: int | None = None) -> str:
    """Of the folders of one process, or of all that this one would see if they lived."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"spill-{platform.node()}-{namespace}-" + ("" if pid is None else f"{pid}-")
