"""What memory a rank holds, as the kernel tells it.

Counted is what is the process's own: anonymous and shared memory, that of its children included. Mapped files are
not: datasets are mapped, and their pages belong to the page cache. RLIMIT_AS would limit address space, of which
mapped datasets, CUDA and thread stacks take far more than they hold; and it fails a library's malloc in a place of
its own choosing, where a watched rank ends with a reason.
"""

from __future__ import annotations

import os
from pathlib import Path

_STATUS_BYTES = 4096


def held_bytes(pid: int) -> int:
    """Anonymous and shared memory of one process; 0 once it is gone."""
    status = _read(f"/proc/{pid}/status")
    return _kibibytes(status, b"RssAnon:") + _kibibytes(status, b"RssShmem:")


def mapped_bytes(pid: int, directory: Path) -> int:
    """What of a process's shared memory are mapped files below `directory`: datasets kept on tmpfs."""
    below = os.fsencode(directory) + b"/"
    total, inside = 0, False
    for line in _read_all(f"/proc/{pid}/smaps").splitlines():
        first, _, rest = line.partition(b" ")
        if not first.endswith(b":"):
            inside = below in rest
        elif inside and first == b"Rss:":
            total += int(rest.split()[0]) << 10
    return total


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory since this machine started."""
    _, _, rest = _read_all("/proc/vmstat").partition(b"\noom_kill ")
    return int(rest.split()[0]) if rest else 0


def _kibibytes(status: bytes, field: bytes) -> int:
    _, _, rest = status.partition(field)
    return int(rest.split(None, 1)[0]) << 10 if rest else 0


def _read(path: str) -> bytes:
    # By descriptor: some ranks are looked at ten times a second, and open() costs as much as the rest.
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _STATUS_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _read_all(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def gibibytes(size_bytes: int) -> str:
    """ "1.50 GiB"."""
    return f"{size_bytes / (1 << 30):.2f} GiB"
