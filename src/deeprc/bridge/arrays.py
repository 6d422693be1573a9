"""Columns of a dataset as arrays: for NumPy, PyTorch and TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from numpy.typing import NDArray

from deeprc.bridge.columns import Converted, is_convertible, to_array
from deeprc.bridge.ledger import LedgerEntry, Target
from deeprc.bridge.mapping import map_part
from deeprc.bridge.parts import Part
from deeprc.errors import DataError, MissingDependencyError, valid_values

if TYPE_CHECKING:
    import tensorflow as tf
    import torch

_TENSORFLOW_ALIGNMENT = 64
"""Bytes; TensorFlow's kernels abort the process on less (EIGEN_MAX_ALIGN_BYTES)."""


@contextmanager
def needs(library: Literal["torch", "tensorflow"]) -> Iterator[None]:
    """Around an import: where the library is absent, say which command brings it."""
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"{library} could not be imported: {error}. Install it with: pip install 'deeprc[{library}]'"
        ) from error


def existing_columns(columns: Iterable[str], schema: pl.Schema) -> list[str]:
    """The chosen columns, as a list.

    Raises:
        DataError: a column does not exist.
    """
    chosen = [columns] if isinstance(columns, str) else list(columns)
    for name in chosen:
        if name not in schema:
            raise DataError(f"no column {name!r}. {valid_values(name, list(schema), noun='column')}")
    return chosen


def checked_columns(columns: Iterable[str] | None, schema: pl.Schema) -> list[str]:
    """The chosen columns, all of them by default.

    Raises:
        DataError: a column does not exist, or has no array form.
    """
    chosen = list(schema) if columns is None else existing_columns(columns, schema)
    if unfit := [f"{name} ({schema[name]})" for name in chosen if not is_convertible(schema[name])]:
        fit = [name for name in schema if is_convertible(schema[name])]
        raise DataError(
            f"columns without an array form: {', '.join(unfit)}. Choose with columns= from: {', '.join(fit)}"
        )
    return chosen


def numpy_columns(parts: Sequence[Part], columns: Sequence[str], schema: pl.Schema) -> dict[str, Converted]:
    """Each column's array, and the reason where it is a copy."""
    mapped = [map_part(part) for part in parts]
    return {name: to_array(name, mapped, schema[name]) for name in columns}


def entries(converted: dict[str, Converted], to: Target) -> list[LedgerEntry]:
    return [
        LedgerEntry(name, to, "copied" if reason else "shared", array.nbytes, reason)
        for name, (array, reason) in converted.items()
    ]


def torch_tensors(converted: dict[str, Converted]) -> dict[str, torch.Tensor]:
    """Tensors on the arrays' memory."""
    with needs("torch"):
        import torch

    return {name: torch.from_numpy(array) for name, (array, _) in converted.items()}


def tensorflow_dataset(converted: dict[str, Converted]) -> tuple[tf.data.Dataset, dict[str, Converted]]:
    """Rows of tensors on the mapped memory where it is aligned as TensorFlow needs, else on copies; and why."""
    with needs("tensorflow"):
        import tensorflow as tf

    told = {name: (array, reason or _misaligned(array)) for name, (array, reason) in converted.items()}
    with tf.device("CPU"):
        tensors = {name: _copied(array) if reason else _shared(array) for name, (array, reason) in told.items()}
        return tf.data.Dataset.from_tensor_slices(tensors), told


def _misaligned(array: NDArray[Any]) -> str:
    if array.size == 0 or array.ctypes.data % _TENSORFLOW_ALIGNMENT == 0:
        return ""
    return f"TensorFlow needs memory that begins at a multiple of {_TENSORFLOW_ALIGNMENT} bytes"


def _copied(array: NDArray[Any]) -> tf.Tensor:
    import tensorflow as tf

    return tf.convert_to_tensor(array)


def _shared(array: NDArray[Any]) -> tf.Tensor:
    """`tf.convert_to_tensor` always copies a NumPy array; DLPack does not."""
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(array.__dlpack__()) if array.size else _copied(array)
