"""What is said to be shared is the mapped file; what is copied says why."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
import textwrap
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import deeprc as rc
from deeprc.bridge import Dataset, LedgerEntry
from deeprc.bridge.arrays import numpy_columns, tensorflow_dataset
from tests.bridge.frames import COLUMNS, lies_in, numbers

SHARED: dict[str, pl.Series] = {
    **{
        name: series.fill_nan(None).drop_nulls() if series.dtype.is_float() else series.drop_nulls()
        for name, series in COLUMNS.items()
        if series.dtype.is_numeric() and series.dtype not in (pl.Int128, pl.UInt128) and series.dtype != pl.Decimal
    },
    **{
        name: COLUMNS[name].drop_nulls()
        for name in ["Date", "Datetime ms", "Datetime ns", "Zoned", "Duration us", "Time", "Enum", "LargeEnum", "Array"]
    },
}
COPIED: dict[str, tuple[pl.Series, list[Any], str]] = {
    "null in integers": (
        pl.Series([1, None, 3]),
        [1.0, np.nan, 3.0],
        "1 null, which an array has no place for, became NaN",
    ),
    "null in floats": (pl.Series([None, None, 3.0], dtype=pl.Float32), [np.nan, np.nan, 3.0], "2 nulls, .* became NaN"),
    "null in dates": (pl.Series([dt.date(1970, 1, 2), None]), [1, -(2**31)], "1 null, .* became the smallest integer"),
    "null in enum": (COLUMNS["Enum"], [1, -1, 0], "1 null, .* became -1"),
    "boolean": (pl.Series([True, False]), [True, False], "one bit, an array in one byte"),
    "boolean with null": (pl.Series([True, None]), [1.0, np.nan], "one bit, an array in one byte"),
    "string": (pl.Series(["b", "a", None, "b"]), [1, 0, -1, 1], "number of its value among the sorted distinct values"),
    "categorical": (
        pl.Series(["b", "a", "c"], dtype=pl.Categorical),
        [1, 0, 2],
        "number of its value among the sorted",
    ),
    "decimal": (pl.Series([Decimal("1.25"), None]), [1.25, np.nan], "no decimal type"),
}


@pytest.mark.parametrize("name", SHARED)
def test_arrays_and_tensors_are_the_mapped_file(name: str) -> None:
    """Numbers, dates, times and enums without nulls: no byte is copied, and values are right."""
    dataset = Dataset.from_polars(SHARED[name].to_frame())
    path = dataset.parts[0].path
    expected = SHARED[name].to_physical().to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = dataset.to_torch()[name]
    array = dataset.to_numpy()[name]
    assert lies_in(tensor.data_ptr(), path)
    assert lies_in(array.ctypes.data, path)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(tensor.numpy(), expected)
    assert dataset.ledger() == [LedgerEntry(name, to, "shared", expected.nbytes) for to in ("torch", "numpy")]


@pytest.mark.parametrize("case", COPIED)
def test_what_has_to_be_copied_says_why(case: str) -> None:
    """Each reason, and what becomes of the values; the copy is writable and no part of the file."""
    series, expected, reason = COPIED[case]
    dataset = Dataset.from_polars(series.alias("x").to_frame())
    tensor = dataset.to_torch()["x"]
    np.testing.assert_array_equal(tensor.numpy(), np.array(expected))
    assert not lies_in(tensor.data_ptr(), dataset.parts[0].path)
    (entry,) = dataset.ledger()
    assert (entry.column, entry.to, entry.mode, entry.bytes) == ("x", "torch", "copied", tensor.nbytes)
    assert re.search(reason, entry.reason)


def test_several_parts_are_copied_into_one_piece() -> None:
    """A tensor is one piece of memory; a part without rows does not count."""
    parts = [Dataset.from_polars(numbers(rows)) for rows in (2, 0, 3)]
    dataset = Dataset.merge(parts)
    assert dataset.to_torch(["count"])["count"].tolist() == [0, 1, 0, 1, 2]
    assert str(dataset.ledger()[0]) == (
        "count -> torch: copied 40 bytes, because its rows lie in 2 parts, and an array is one piece of memory"
    )
    shared = Dataset.merge(parts[:2])
    shared.to_torch()
    assert {entry.mode for entry in shared.ledger()} == {"shared"}


def test_a_share_of_rows_is_shared() -> None:
    """The rows of one rank are a slice of the file, without a copy."""
    dataset = Dataset.from_polars(
        numbers(10, width=pl.Series([[i, -i] for i in range(10)], dtype=pl.Array(pl.Int8, 2)))
    )
    tensors = dataset.part(1, 3).to_torch()
    assert tensors["count"].tolist() == [3, 4, 5]
    assert tensors["width"].tolist() == [[3, -3], [4, -4], [5, -5]]
    assert all(lies_in(tensor.data_ptr(), dataset.parts[0].path) for tensor in tensors.values())
    assert {entry.mode for entry in dataset.ledger()} == {"shared"}


def test_changing_a_tensor_in_place_leaves_the_file_as_it_is() -> None:
    """The mapping is copy-on-write: neither the file nor another conversion sees the change."""
    dataset = Dataset.from_polars(numbers())
    before = Path(dataset.parts[0].path).read_bytes()
    tensor, other = dataset.to_torch()["level"], dataset.to_torch()["level"]
    tensor.mul_(2)
    assert tensor[-1] == 2.0
    assert other[-1] == 1.0
    assert dataset.to_polars()["level"][-1] == 1.0
    assert Path(dataset.parts[0].path).read_bytes() == before


def test_tensors_outlive_the_files() -> None:
    """A run that removes its datasets does not pull memory from under a tensor."""
    dataset = Dataset.from_polars(numbers())
    tensor = dataset.to_torch()["count"]
    Path(dataset.parts[0].path).unlink()
    assert tensor.sum() == 499500


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - {"Int128", "UInt128"}))
def test_polars_and_arrow_read_the_mapped_file(name: str) -> None:
    """Arrow takes every type as it is, Polars all but categories, which it numbers in a table of its own."""
    dataset = Dataset.from_polars(pl.concat([COLUMNS[name]] * 50, rechunk=True).to_frame())
    path = dataset.parts[0].path
    arrow, frame = dataset.to_arrow(), dataset.to_polars()
    to_arrow, to_polars = dataset.ledger()
    buffers = [buffer for buffer in arrow[name].chunk(0).buffers() if buffer and buffer.size]
    assert to_arrow.mode == "shared"
    assert all(lies_in(buffer.address, path) for buffer in buffers)
    if name in ("Categorical", "Categories", "Enum", "LargeEnum", "Nested"):
        assert to_polars.mode == "copied"
        assert to_polars.reason == "Polars numbers categories in a table of its own"
    elif name == "Struct":
        assert to_polars.reason == "Polars lays out this column, or a part of it, in another way"
    elif name != "Decimal":
        assert to_polars == LedgerEntry(name, "polars", "shared", to_polars.bytes)
    if frame.dtypes[0].is_integer():
        assert lies_in(frame[name].drop_nulls().head(0).to_numpy().ctypes.data, path) or frame[name].null_count()


def test_mapped_frames_can_be_pickled(tmp_path: Path) -> None:
    """Polars frees mapped memory on its own threads, which must not wait for the interpreter: no deadlock."""
    script = f"""
        import pickle, polars as pl
        from deeprc.bridge import Dataset, set_dataset_root
        set_dataset_root({str(tmp_path)!r})
        frame = pl.DataFrame({{"count": range(200), "nothing": [None] * 200}})
        dataset = Dataset.from_polars(frame)
        for _ in range(20):
            both = pl.concat([dataset.to_polars(), frame], rechunk=False)
            assert pickle.loads(pickle.dumps(both)).height == 400
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=60)


def test_conversions_are_events_of_the_run(events: list[dict[str, Any]]) -> None:
    """The journal hears what the ledger says."""
    dataset = Dataset.from_polars(numbers(10, name=["a", "b"] * 5), name="flows")
    dataset.to_torch(["count", "name"])
    dataset.part(0, 1).to_polars()
    assert events == [
        {
            "kind": "transfer",
            "dataset": "flows",
            "column": entry.column,
            "to": entry.to,
            "mode": entry.mode,
            "bytes": entry.bytes,
            "reason": entry.reason,
        }
        for entry in dataset.ledger()
    ]
    assert [event["to"] for event in events] == ["torch"] * 2 + ["polars"] * 3


@pytest.mark.parametrize("name", ["List", "Struct", "Binary", "Null"])
def test_types_without_an_array_form_are_refused(name: str) -> None:
    """The error lists the columns that can be chosen."""
    dataset = Dataset.from_polars(numbers(3).with_columns(COLUMNS[name]))
    with pytest.raises(rc.DeepRCError, match=rf"without an array form: {name} .*from: count, level"):
        dataset.to_torch()
    assert list(dataset.to_torch(["level"])) == ["level"]


def test_unknown_columns_are_refused() -> None:
    """With the nearest and all valid names."""
    with pytest.raises(rc.DeepRCError, match=r"no column 'levle'. Did you mean 'level'\? Valid columns: count, level"):
        Dataset.from_polars(numbers()).to_torch(["levle"])


def test_arrays_with_nulls_are_refused() -> None:
    """There is no obvious row to put in their place."""
    with pytest.raises(rc.DeepRCError, match=r"'Array' is Array.* holds nulls.*fill them"):
        Dataset.from_polars(COLUMNS["Array"].to_frame()).to_numpy()


def test_tensorflow_works_on_aligned_memory_and_copies_the_rest() -> None:
    """It shares what begins at a multiple of 64 bytes, says so, and reads the right values either way."""
    seen = set()
    for length in range(1, 65):
        dataset = Dataset.from_polars(numbers(100).rename({"count": "c" * length}))
        name = "c" * length
        converted = numpy_columns(dataset.parts, [name], dataset.schema)
        elements, told = tensorflow_dataset(converted)
        array, reason = told[name]
        array[7] = -1
        value = int(next(iter(elements.batch(100)))[name][7])
        assert value == (7 if reason else -1), reason
        assert bool(reason) == bool(array.ctypes.data % 64)
        seen.add(bool(reason))
        if len(seen) == 2:
            return
    pytest.fail("headers of 64 lengths never moved the data to and off a multiple of 64 bytes")


def test_tensorflow_reads_rows_and_batches() -> None:
    """Rows are dicts of scalars, batches dicts of tensors; strings are codes as for torch."""
    dataset = Dataset.from_polars(numbers(10, name=["b", "a"] * 5))
    rows = list(dataset.to_tf().as_numpy_iterator())
    assert [row["count"] for row in rows] == list(range(10))
    assert [row["name"] for row in rows] == [1, 0] * 5
    batches = list(dataset.to_tf(["level"], batch_size=4).as_numpy_iterator())
    assert [len(batch["level"]) for batch in batches] == [4, 4, 2]
    assert {entry.to for entry in dataset.ledger()} == {"tensorflow"}
    with pytest.raises(rc.DeepRCError, match="batch_size must be 1 or more"):
        dataset.to_tf(batch_size=0)
