"""Results of tasks: of what their ranks returned, in a file until somebody asks, of an earlier run."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprc.runtime.link.packing import is_dataset, packed_inline, unpacked


@dataclass(frozen=True)
class Stored:
    """A result that lies in a file: the driver, which has no use for it, spends neither time nor memory on it."""

    path: Path

    def load(self) -> Any:
        """The value; a large array or text in it is read into its own memory, once."""
        with self.path.open("rb") as file:
            return pickle.load(file)

    def __str__(self) -> str:
        return f"{self.path.stat().st_size} bytes in results/{self.path.name}"


@dataclass(frozen=True)
class Reused:
    """A result of an earlier run: packed, as a value, and where it is from."""

    packed: bytes
    value: Any
    run: str
    seconds: float


def merged_result(packed: tuple[bytes, ...]) -> tuple[bytes, Any]:
    """The task's result, packed and as a value: rank 0's, or one Dataset of every rank's parts."""
    if len(packed) == 1 and packed[0][:1] == b"f":
        return packed[0], Stored(Path(os.fsdecode(packed[0][1:])))
    values = [pickle.loads(unpacked(result)) for result in packed]
    if len(values) == 1 or not is_dataset(values[0]):
        return packed[0], values[0]
    from deeprc.bridge import Dataset

    merged = Dataset.merge(values)
    return packed_inline(pickle.dumps(merged, pickle.HIGHEST_PROTOCOL)), merged
