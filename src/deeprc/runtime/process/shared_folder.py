"""Folders in shared memory for the libraries of ranks, which leave theirs behind when they are killed.

An agent only names a folder. It is made by the processes that end the ranks when the agent dies, once they are sure to
hear of that: so whoever dies first, it is removed. Should all of them be killed at once, the kernel lets go of their
locks on it, and the next agent removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PLACE = Path("/dev/shm")
_PREFIX = "deeprc-mpi-"


def new_name() -> Path:
    """The name of a folder of this process's that nobody else has, not made yet."""
    place = _PLACE if os.access(_PLACE, os.W_OK) else Path(tempfile.gettempdir())
    return place / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"


def hold(folder: Path) -> int:
    """Make a folder, if that has not been done, and keep it while this process or one forked from it lives.

    Returns a descriptor, which may be closed to keep it no longer.

    Raises:
        PermissionError: another user has made it.
    """
    held = None
    while held is None:
        folder.mkdir(mode=0o700, exist_ok=True)
        held = _locked(folder)
    return held


def _locked(folder: Path) -> int | None:
    """A descriptor of a folder that `remove_abandoned` leaves alone; None if it has just been removed."""
    try:
        descriptor = _open(folder)
    except FileNotFoundError:
        return None
    if os.fstat(descriptor).st_uid != os.getuid():
        os.close(descriptor)
        raise PermissionError(f"{folder} belongs to another user")
    # Where folders cannot be locked nothing is taken for abandoned either.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    is_there = os.fstat(descriptor).st_nlink > 0
    if not is_there:
        os.close(descriptor)
    return descriptor if is_there else None


def remove(folder: Path) -> None:
    """Remove a folder with what is in it; harmless if that has been done."""
    shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned() -> None:
    """Remove the folders of this user that nobody holds any more."""
    for folder in _PLACE.glob(f"{_PREFIX}*"):
        with _abandoned(folder) as is_abandoned:
            if is_abandoned:
                remove(folder)


@contextlib.contextmanager
def _abandoned(folder: Path) -> Iterator[bool]:
    """Whether nobody holds a folder of this user's; meanwhile nobody can."""
    try:
        descriptor = _open(folder)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield os.fstat(descriptor).st_uid == os.getuid()
    except OSError:
        yield False
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
