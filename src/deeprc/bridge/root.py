"""Where this process writes datasets."""

from __future__ import annotations

from pathlib import Path

from deeprc.errors import DataError
from deeprc.workspace.scratch import temporary_folder

_root: Path | None = None


def set_dataset_root(path: str | Path) -> None:
    """Write datasets of this process below `path` from now on; a run's ranks use the run's directory."""
    global _root
    _root = Path(path).absolute()


def dataset_root() -> Path:
    """The folder for new datasets, made if it does not exist, for its owner alone (0700).

    Outside a run, and with none set, it is a temporary folder that goes away with the process.

    Raises:
        DataError: it cannot be made.
    """
    global _root
    if _root is None:
        _root = temporary_folder("deeprc-datasets-")
    try:
        _root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make {_root}, the folder for datasets: {error.strerror}. Choose another with set_dataset_root"
        ) from error
    return _root
