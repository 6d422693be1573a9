"""The shared memory of MPICH's ranks: which files in /dev/shm are whose, and their removal.

MPICH unlinks a segment when all ranks of its world finalize. Ranks that are killed do not, and it would stay in memory.
"""

from __future__ import annotations

from pathlib import Path

_PLACE = Path("/dev/shm")


def segments_of_world(name: str) -> str:
    """A pattern for the segments of a world of this name: MPICH takes an FNV-1a hash of it."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"mpich_shm_{value:x}_*"


def segments_of(pid: int) -> str:
    """A pattern for the segments of a process that has started MPI by itself, as a world of one rank."""
    return f"mpich_shm_{pid:x}_*"


def segments_open_in(pid: int) -> list[Path]:
    """The segments that a process has open; none once it is gone."""
    try:
        targets = [entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []
    return [target for target in targets if target.parent == _PLACE and target.match("mpich_shm_*")]


def remove_segments(pattern: str) -> None:
    """Remove the segments of ranks that have ended."""
    for segment in _PLACE.glob(pattern):
        segment.unlink(missing_ok=True)
