"""The manifest: a JSON file that names a dataset's parts. It is written last, so one that exists is complete."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from deeprc.bridge.parts import Part
from deeprc.errors import DataError

FORMAT = "deeprc.dataset/1"


def write_manifest(path: Path, name: str, parts: Sequence[Part], schema: pl.Schema) -> None:
    """Write the manifest; parts beside it are named relative to it, so the folder may be moved."""
    content = {
        "format": FORMAT,
        "name": name,
        "num_rows": sum(part.num_rows for part in parts),
        "columns": {column: str(dtype) for column, dtype in schema.items()},
        "parts": [{**asdict(part), "path": _relative(part.path, path.parent)} for part in parts],
    }
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(content, file, indent=1)
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"could not write {path}: {error.strerror}. Free space there, or choose another "
            "folder with set_dataset_root"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_manifest(path: Path) -> tuple[str, tuple[Part, ...]]:
    """The name and the parts of a dataset.

    Raises:
        DataError: the file is missing, or is no manifest.
    """
    try:
        content: Any = json.loads(path.read_text())
    except OSError as error:
        raise DataError(
            f"cannot read the manifest {path}: {error.strerror}. A dataset's manifest is the .json file "
            "beside its .arrow files"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is not a dataset's manifest: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path} is not a dataset's manifest of the format {FORMAT!r}")
    try:
        if not content["parts"]:
            raise DataError(f"{path} lists no parts. Run the task that makes the dataset again")
        parts = tuple(Part(**{**part, "path": str(path.parent / part["path"])}) for part in content["parts"])
        return str(content["name"]), parts
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is a damaged manifest: {error}. Run the task that makes the dataset again") from error


def _relative(path: str, directory: Path) -> str:
    return Path(path).name if Path(path).parent == directory else path
