"""What the kept results of a run depended on: the first line of each `results/KEY.kept`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEPT_SUFFIX = ".kept"


def kept_headers(run_directory: Path) -> Iterator[dict[str, Any]]:
    """The header of each kept result, the oldest first; files that are no such thing are passed over.

    Keys: `task`, `key` (hashes: `function` (its code), `arguments`, `ranks`, `inputs` {path: hash}, `needs`),
    `seconds`, `blake2b`, `file_bytes`, and `path`, the file itself.
    """
    files = (run_directory / "results").glob(f"*{KEPT_SUFFIX}")
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
        try:
            with path.open("rb") as file:
                header = json.loads(file.readline())
            yield {"task": header["task"], "key": header["key"], **header, "path": path}
        except (OSError, ValueError, KeyError, TypeError):
            continue
