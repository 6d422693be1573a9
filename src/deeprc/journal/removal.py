"""Runs that are no longer wanted: how much room they take, and how they go."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deeprc.errors import JournalError

DATA = ("datasets", "results", "checkpoints")
"""What takes the room: without it a run can be read and reported, but not resumed."""


def run_bytes(directory: Path) -> int:
    """Bytes that the files of a run take on disk; files that go meanwhile count nothing."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                # Blocks, not length: logs may have holes.
                total += (Path(folder) / name).lstat().st_blocks * 512
            except OSError:
                continue
    return total


def remove_run(directory: Path, *, data_only: bool = False) -> None:
    """Remove a run's directory, or only its data. It is renamed first: what is half gone is no run any more.

    Raises:
        JournalError: it is no run's directory, or something in it cannot be removed.
    """
    if not (directory / "events.jsonl").is_file():
        raise JournalError(f"{directory} is not a run directory: it has no events.jsonl, and is left alone")
    try:
        if data_only:
            for run in (directory, *directory.glob("restarts/*")):
                for name in DATA:
                    if (run / name).is_dir():
                        shutil.rmtree(run / name)
        elif directory.is_symlink():
            directory.unlink()
        else:
            leaving = directory.with_name(f".removing-{directory.name}")
            directory.rename(leaving)
            shutil.rmtree(leaving)
    except OSError as error:
        raise JournalError(f"{error.filename or directory} cannot be removed: {error.strerror}") from error
