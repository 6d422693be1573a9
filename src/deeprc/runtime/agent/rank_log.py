"""The bounded log of a rank: a task that prints without end fills neither disk nor memory."""

from __future__ import annotations

import os
from pathlib import Path

LOG_LIMIT_BYTES = 64 << 20
_KEPT_BYTES = 1 << 20
_LOOKS = 8


def bound_log(log: Path, limit_bytes: int = LOG_LIMIT_BYTES) -> bool:
    """Cut a log that has grown past its limit down to its last MiB; True if that was done.

    The rank goes on writing: its descriptor appends, so what follows lands behind what is kept. Of a rank that prints
    without a pause some lines are lost in cutting; to lose the last of all it would have to stop in that very moment.
    """
    try:
        descriptor = os.open(log, os.O_RDWR | os.O_APPEND)
    except OSError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        if size <= limit_bytes:
            return False
        kept = os.pread(descriptor, _KEPT_BYTES, size - _KEPT_BYTES)
        # What has been written meanwhile: shorter each time, so that hardly a moment is left.
        for _ in range(_LOOKS):
            more = os.pread(descriptor, _KEPT_BYTES, size)
            kept, size = (kept + more)[-_KEPT_BYTES:], size + len(more)
            if not more:
                break
        os.ftruncate(descriptor, 0)
        left_out = size - len(kept)
        os.write(descriptor, b"[%d bytes of output left out here: a log keeps %d]\n" % (left_out, limit_bytes) + kept)
    except OSError:
        # A full disk: the next look tries again.
        return False
    else:
        return True
    finally:
        os.close(descriptor)
