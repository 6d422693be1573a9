"""Mapping a part into memory, copy-on-write.

The mapping is private and writable: what is made of it may be changed in place (`tensor.mul_(2)`) and pages
that nobody changes stay shared with the page cache and all other ranks, while the file is never changed.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deeprc.bridge.parts import Part, check_part, damaged
from deeprc.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class MappedPart:
    """A part's rows as an Arrow table on the mapped file, and all bytes of the file as a writable array."""

    table: pa.Table
    memory: NDArray[np.uint8]

    def holds(self, address: int) -> bool:
        """Whether an address is one of the mapping's."""
        start = self.memory.ctypes.data
        return start <= address < start + self.memory.nbytes

    def view(self, buffer: pa.Buffer, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A buffer of the table, writable: pyarrow itself gives only read-only views of what it read."""
        start = buffer.address - self.memory.ctypes.data
        count = buffer.size // dtype.itemsize
        return self.memory[start : start + count * dtype.itemsize].view(dtype)


def map_part(part: Part) -> MappedPart:
    """Map a part; the mapping lives as long as anything that uses it.

    Raises:
        DataError: the file is missing, truncated or damaged, or has a column of a type that pyarrow lacks.
    """
    import pyarrow as pa

    check_part(part)
    with Path(part.path).open("rb") as file:
        memory = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
    try:
        table = pa.ipc.open_file(pa.py_buffer(memory)).read_all()
    except pa.ArrowNotImplementedError as error:
        raise DataError(
            f"{part.path} cannot be mapped, since pyarrow lacks the type of a column: {error}. Cast 128-bit integers "
            "to pl.Int64 or pl.Decimal before the dataset is written, or read it with to_polars or scan"
        ) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(part, error) from error
    return MappedPart(table.slice(part.first_row, part.num_rows), memory)
