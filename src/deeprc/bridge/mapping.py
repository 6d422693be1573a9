"""Mapping a part into memory, copy-on-write.

The mapping is private and writable: what is made of it may be changed in place (`tensor.mul_(2)`) and pages
that nobody changes stay shared with the page cache and all other ranks, while the file is never changed.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from deeprc.bridge.parts import Part, check_part
from deeprc.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def map_part(part: Part) -> pa.Table:
    """The part's rows on the mapped file; the mapping lives as long as anything that uses it.

    Raises:
        DataError: the file is missing, truncated, or not what was written.
    """
    import pyarrow as pa

    check_part(part)
    with Path(part.path).open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    try:
        table = pa.ipc.open_file(pa.py_buffer(memory)).read_all()
    except pa.ArrowNotImplementedError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{part.path}, a part of a dataset, is damaged: {error}. Delete it and run the task that makes the "
            "dataset again"
        ) from error
    return table.slice(part.first_row, part.num_rows)
