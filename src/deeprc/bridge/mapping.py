"""Mapping a part into memory.

Arrow and Polars get a read-only mapping that C++ owns. Not one that a Python object owns: Polars lets go of
memory on its own threads, and to free a Python object there it would wait for the interpreter lock, which
the thread that waits for Polars may hold.

Arrays and tensors get a private, writable mapping of the same pages (copy-on-write): they may be changed in
place (`tensor.mul_(2)`), pages that nobody changes stay shared with all ranks, and the file never changes.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from functools import cached_property
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
    """A part's rows as an Arrow table on `memory`, the mapped file."""

    table: pa.Table
    memory: pa.Buffer
    path: str

    def holds(self, address: int) -> bool:
        """Whether an address is one of the mapping's."""
        return bool(self.memory.address <= address < self.memory.address + self.memory.size)

    def view(self, buffer: pa.Buffer, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A buffer of the table as an array on the private mapping."""
        start = buffer.address - self.memory.address
        count = buffer.size // dtype.itemsize
        return self._private[start : start + count * dtype.itemsize].view(dtype)

    @cached_property
    def _private(self) -> NDArray[np.uint8]:
        with Path(self.path).open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)


def map_part(part: Part) -> MappedPart:
    """Map a part; the mapping lives as long as anything that uses it.

    Raises:
        DataError: the file is missing, truncated or damaged, or has a column of a type that pyarrow lacks.
    """
    import pyarrow as pa

    check_part(part)
    try:
        with pa.memory_map(part.path) as file:
            memory = file.read_buffer()
            table = pa.ipc.open_file(memory).read_all()
    except pa.ArrowNotImplementedError as error:
        raise DataError(
            f"{part.path} cannot be mapped, since pyarrow lacks the type of a column: {error}. Cast 128-bit integers "
            "to pl.Int64 or pl.Decimal before the dataset is written, or read it with to_polars or scan"
        ) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(part, error) from error
    return MappedPart(table.slice(part.first_row, part.num_rows), memory, part.path)
