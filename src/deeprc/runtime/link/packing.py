"""Pickled results on their way: small ones in the message, large ones as the name of a file in the run.

So no message is long: neither driver nor agent, which serve many ranks, waits for one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from deeprc.errors import DataError

_INLINE_BYTES = 1 << 20


def packed(payload: bytes, path: Path) -> bytes:
    """The payload itself, or the name of `path`, to which it has been written whole."""
    if len(payload) <= _INLINE_BYTES:
        return packed_inline(payload)
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(payload)
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"the result could not be written to {path}: {error.strerror}. Free space on that disk, or return less: "
            "a dataset, or the path of a file"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return b"f" + os.fsencode(path)


def is_dataset(result: Any) -> bool:
    """Whether a result is one of our datasets, of which each rank has a part; asked without importing them."""
    kind = type(result)
    return (kind.__module__, kind.__name__) == ("deeprc.bridge.dataset", "Dataset")


def packed_inline(payload: bytes) -> bytes:
    return b"v" + payload


def unpacked(result: bytes) -> bytes:
    """The payload behind what `packed` returned."""
    return result[1:] if result[:1] == b"v" else Path(os.fsdecode(result[1:])).read_bytes()
