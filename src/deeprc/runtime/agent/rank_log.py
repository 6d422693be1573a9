"""The bounded log of a rank: a task that prints without end fills neither disk nor memory."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

LOG_LIMIT_BYTES = 64 << 20
_KEPT_BYTES = 1 << 20
_LOOKS = 8
# Of linux/falloc.h: takes a range of whole blocks out of a file, in one step; ext4 and XFS have it.
_FALLOC_FL_COLLAPSE_RANGE = 0x08
_BLOCKS_BYTES = 64 << 10


def bound_log(log: Path, limit_bytes: int = LOG_LIMIT_BYTES) -> bool:
    """Cut a log that has grown past its limit down to about its last MiB; True if that was done.

    The rank goes on writing: its descriptor appends, so what follows lands behind what is kept.
    """
    try:
        descriptor = os.open(log, os.O_RDWR)
    except OSError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        if size <= limit_bytes:
            return False
        if not _start_taken_out(descriptor, size, limit_bytes):
            _written_again(log, descriptor, size, limit_bytes)
    except OSError:
        # A full disk: the next look tries again.
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _start_taken_out(descriptor: int, size: int, limit_bytes: int) -> bool:
    """By the file system, which loses nothing of what is being written; False if it cannot."""
    cut = (size - _KEPT_BYTES) // _BLOCKS_BYTES * _BLOCKS_BYTES
    offset, length = ctypes.c_int64(0), ctypes.c_int64(cut)
    if cut <= 0 or ctypes.CDLL(None).fallocate(descriptor, _FALLOC_FL_COLLAPSE_RANGE, offset, length) != 0:
        return False
    os.pwrite(descriptor, _note(cut, limit_bytes), 0)
    return True


def _written_again(log: Path, descriptor: int, size: int, limit_bytes: int) -> None:
    """Of a rank that prints without a pause some lines are lost: what it writes between the last look and the cut."""
    kept = os.pread(descriptor, _KEPT_BYTES, size - _KEPT_BYTES)
    # What has been written meanwhile: shorter each time, so that hardly a moment is left.
    for _ in range(_LOOKS):
        more = os.pread(descriptor, _KEPT_BYTES, size)
        kept, size = (kept + more)[-_KEPT_BYTES:], size + len(more)
        if not more:
            break
    os.ftruncate(descriptor, 0)
    with log.open("ab", buffering=0) as end:
        end.write(_note(size - len(kept), limit_bytes) + kept)


def _note(left_out: int, limit_bytes: int) -> bytes:
    return b"[%d bytes of output left out here: a log keeps %d]\n" % (left_out, limit_bytes)
