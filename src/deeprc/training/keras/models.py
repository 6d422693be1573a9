"""Keras models to and from files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from deeprc.errors import DataError
from deeprc.training.keras.backend import load_keras


def save_model(model: Any, path: str | Path) -> Path:
    """Write a Keras model to a `.keras` file: under a temporary name, then renamed.

    Raises:
        DataError: the name does not end in `.keras`.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise DataError(f"{path}: a Keras model is kept in a file whose name ends in .keras")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        model.save(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_model(path: str | Path) -> Any:
    """Read a Keras model, ready to predict; its training state is left behind.

    Raises:
        DataError: the file is absent or not a Keras model.
    """
    _, keras = load_keras()
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as a Keras model ({error})") from error
