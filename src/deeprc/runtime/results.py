"""One result from what the ranks of a task returned."""

from __future__ import annotations

import pickle
from typing import Any

from deeprc.runtime.packing import packed_inline, unpacked


def merged_result(packed: tuple[bytes, ...]) -> tuple[bytes, Any]:
    """The task's result, packed and as a value: rank 0's, or one Dataset of every rank's parts."""
    values = [pickle.loads(unpacked(result)) for result in packed]
    if len(values) == 1 or type(values[0]).__name__ != "Dataset":
        return packed[0], values[0]
    from deeprc.bridge import Dataset

    merged = Dataset.merge(values)
    return packed_inline(pickle.dumps(merged, pickle.HIGHEST_PROTOCOL)), merged
