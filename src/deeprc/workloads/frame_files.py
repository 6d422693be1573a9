"""Forecasts in files for others to read."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from deeprc.errors import DataError, SpecError

SUFFIXES = (".csv", ".parquet")


def check_frame_path(path: str | Path | None) -> None:
    """Refuse a name that does not say what to write.

    Raises:
        SpecError: with the endings that do.
    """
    if path is not None and Path(path).suffix not in SUFFIXES:
        raise SpecError(f"path={str(path)!r}: forecasts are written to a name that ends in {' or '.join(SUFFIXES)}")


def write_frame(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a frame as CSV or Parquet, by the name's ending; under a temporary name, then renamed.

    Raises:
        DataError: it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_csv(temporary) if path.suffix == ".csv" else frame.write_parquet(temporary)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: the forecasts cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
