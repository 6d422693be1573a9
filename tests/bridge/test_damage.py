"""Files that are missing, damaged or cannot be written: said at once, and nothing half-written is left."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from deeprc import bridge
from deeprc.bridge import Dataset
from tests.bridge.frames import numbers

READERS: dict[str, Callable[[Dataset], Any]] = {
    "to_polars": Dataset.to_polars,
    "scan": Dataset.scan,
    "to_arrow": Dataset.to_arrow,
    "to_numpy": Dataset.to_numpy,
    "to_torch": Dataset.to_torch,
    "schema": lambda dataset: dataset.schema,
    "open": lambda dataset: Dataset.open(dataset.manifest),
    "windows": lambda dataset: dataset.windows(target="level", lookback=2, horizon=1),
}


@pytest.mark.parametrize("read", READERS)
def test_a_missing_part_is_named(read: str) -> None:
    """Whichever way it is read, the error says which file, who wrote it, and what to do."""
    dataset = Dataset.from_polars(numbers())
    path = Path(dataset.parts[0].path)
    path.unlink()
    with pytest.raises(rc.DeepRCError, match=rf"{path}.*No such file.*rank 0 on .* run the task .* again"):
        READERS[read](dataset)


@pytest.mark.parametrize("read", READERS)
def test_a_truncated_part_is_named(read: str) -> None:
    """Mapping such a file would end the process with SIGBUS: it is refused before."""
    dataset = Dataset.from_polars(numbers())
    path = Path(dataset.parts[0].path)
    os.truncate(path, 5000)
    with pytest.raises(rc.DeepRCError, match=rf"{path}.* has 5000 bytes; rank 0 .* with {dataset.num_bytes} bytes"):
        READERS[read](dataset)


@pytest.mark.parametrize("read", [name for name in READERS if name != "open"])
def test_a_damaged_part_is_named(read: str) -> None:
    """A file of the right size and wrong content is not mistaken for data."""
    dataset = Dataset.from_polars(numbers())
    path = Path(dataset.parts[0].path)
    path.write_bytes(b"\0" * dataset.num_bytes)
    with pytest.raises(rc.DeepRCError, match=rf"{path}.* is damaged"):
        READERS[read](dataset)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "not a dataset's manifest"),
        ("[]", "format 'deeprc.dataset/1'"),
        ('{"format": "deeprc.dataset/1"}', "damaged manifest"),
        ('{"format": "deeprc.dataset/1", "name": "a", "parts": [{"path": "a"}]}', "damaged manifest"),
        ('{"format": "deeprc.dataset/1", "name": "a", "parts": []}', "lists no parts"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    """The error names the file and what it is not."""
    path = tmp_path / "some.json"
    path.write_text(content)
    with pytest.raises(rc.DeepRCError, match=f"{path}.*{expected}"):
        Dataset.open(path)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    """The error says which file a manifest is."""
    with pytest.raises(rc.DeepRCError, match=r"none.json: No such file.*\.json file"):
        Dataset.open(tmp_path / "none.json")


def test_frames_that_cannot_be_written_are_refused(root: Path) -> None:
    """Python objects and foreign frames: refused with what to do, and no file is left."""
    with pytest.raises(rc.DeepRCError, match=r"\['o'\] hold Python objects.*cast or drop"):
        Dataset.from_polars(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))
    with pytest.raises(rc.DeepRCError, match="takes a Polars frame, not <class 'dict'>"):
        Dataset.from_polars({"a": [1]})  # type: ignore[arg-type]
    assert list(root.iterdir()) == []


def test_a_root_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A path below a file, or without permission: the error says what to set."""
    (tmp_path / "file").touch()
    bridge.set_dataset_root(tmp_path / "file" / "datasets")
    with pytest.raises(rc.DeepRCError, match=r"cannot make .*file/datasets.*Not a directory.*set_dataset_root"):
        Dataset.from_polars(numbers())


@pytest.mark.parametrize("limit", [0, 4096, 100_000])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, limit: int) -> None:
    """Where the file cannot grow, the error names it and what to do, and the folder is empty again."""
    script = f"""
        import resource, polars as pl
        from deeprc.bridge import Dataset, set_dataset_root
        from deeprc.errors import DataError
        set_dataset_root({str(tmp_path / "small")!r})
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            Dataset.from_polars(pl.DataFrame({{"a": range(100_000)}}), name="big")
        except DataError as error:
            print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "could not write 100000 rows of dataset 'big'" in run.stdout
    assert "File too large" in run.stdout
    assert "set_dataset_root" in run.stdout
    assert list((tmp_path / "small").iterdir()) == []


def test_a_manifest_that_cannot_be_written_takes_its_part_with_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part without a manifest would never be found, nor removed."""
    monkeypatch.setattr("deeprc.bridge.manifest.json.dump", _fail)
    with pytest.raises(rc.DeepRCError, match=r"could not write .*No space left"):
        Dataset.from_polars(numbers())
    assert list(root.iterdir()) == []


def _fail(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")
