"""What leaves a table is whole, in every form: summaries, other libraries' data, files; or nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.errors import DataError
from tests.ranks import run_on_ranks
from tests.table.data import frames, share

ROWS = frames()["mixed"].select("k", "g", "x", "d", "b").with_row_index("row")
NUMBERS = pl.DataFrame({"a": range(11), "b": [value / 4 for value in range(11)]})


def _described(comm: rc.Communicator, data: str) -> list[pl.DataFrame]:
    table = rc.from_polars(share(frames()[data], comm.rank, comm.size, "even"), comm)
    return [table.describe(), table.describe((0.9, 0.1), interpolation="linear"), table.describe(None)]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("data", ["mixed", "empty", "all_null", "one_row"])
def test_describe(data: str, size: int) -> None:
    """The summary that Polars gives of all rows, on every rank."""
    whole = frames()[data]
    wanted = [whole.describe(), whole.describe((0.9, 0.1), interpolation="linear"), whole.describe(None)]
    for result in run_on_ranks(_described, data, size=size):
        for got, right in zip(result, wanted, strict=True):
            assert_frame_equal(got, right, rel_tol=1e-6, abs_tol=1e-9)


def _there_and_back(comm: rc.Communicator) -> list[pl.DataFrame]:
    part = share(NUMBERS, comm.rank, comm.size, "even")
    table = rc.from_polars(part, comm)
    tensors = table.to_torch()
    again = [
        rc.from_arrow(table.to_arrow(), comm),
        rc.from_pandas(table.to_pandas(), comm),
        rc.from_numpy(table.to_numpy(), comm),
        rc.from_numpy(part.to_numpy(), comm, schema=["a", "b"]).cast({"a": pl.Int64}),
        rc.from_torch(tensors, comm),
        rc.from_torch(part.to_torch(dtype=pl.Float64), comm, schema=["a", "b"]).cast({"a": pl.Int64}),
        rc.from_arrow(part.to_arrow() if comm.rank == 0 else None, comm),
    ]
    whole: list[Any] = [
        pl.from_arrow(table.to_arrow(gathered=True)),
        pl.from_pandas(table.to_pandas(gathered=True)),
        pl.DataFrame(table.to_numpy(gathered=True)),
        pl.DataFrame({name: tensor.numpy() for name, tensor in table.to_torch(gathered=True).items()}),
    ]
    return [*(each.gather() for each in again), *whole]


@pytest.mark.parametrize("size", [1, 3])
def test_other_libraries(size: int) -> None:
    """Arrow, pandas, NumPy and torch take a rank's rows or all, and give them back."""
    for result in run_on_ranks(_there_and_back, size=size):
        first = share(NUMBERS, 0, size, "even")
        for number, got in enumerate(result):
            assert_frame_equal(got, first if number == 6 else NUMBERS)


def _mapped(comm: rc.Communicator) -> list[tuple[int, int]]:
    table = rc.from_polars(share(ROWS, comm.rank, comm.size, "even"), comm).shuffle("g")
    calls = []

    def count(part: pl.DataFrame) -> pl.DataFrame:
        calls.append(part.height)
        return part.group_by("g").len()

    counted = table.map_batches(count, schema={"g": pl.String, "len": pl.get_index_type()}).gather()
    assert len(calls) == 1
    return sorted(counted["len"].to_list())


@pytest.mark.parametrize("size", [1, 3])
def test_map_batches_is_called_once_a_rank(size: int) -> None:
    """With all rows that are there: groups that were brought together are whole."""
    wanted = sorted(ROWS.group_by("g").len()["len"].to_list())
    assert run_on_ranks(_mapped, size=size) == [wanted] * size


FORMATS: dict[str, tuple[str, Callable[..., rc.Table], dict[str, Any]]] = {
    "csv": ("csv", rc.scan_csv, {"schema_overrides": ROWS.schema}),
    "ipc": ("arrow", rc.scan_ipc, {}),
    "ndjson": ("ndjson", rc.scan_ndjson, {"schema": ROWS.schema}),
    "parquet": ("parquet", rc.scan_parquet, {}),
}


def _written(comm: rc.Communicator, form: str, folder: Path) -> tuple[list[Path], list[Path], pl.DataFrame]:
    rows = ROWS.with_columns(pl.col("x").fill_nan(None))
    table = rc.from_polars(share(rows, comm.rank, comm.size, "even"), comm)
    _, scan, options = FORMATS[form]
    plain = getattr(table, f"write_{form}")(folder / "plain")
    again = getattr(table, f"write_{form}")(folder / "plain")  # as a retried task does
    assert plain == again
    by_value = getattr(table, f"write_{form}")(folder / "by_value", partition_by=["g", "b"])
    return plain, by_value, scan(folder / "plain", comm, **options).gather()


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("form", list(FORMATS))
def test_writers(form: str, size: int, tmp_path: Path) -> None:
    """One file a rank, in order, or one for each of its values; nothing beside them."""
    rows = ROWS.with_columns(pl.col("x").fill_nan(None))
    suffix, scan, options = FORMATS[form]
    results = run_on_ranks(_written, form, tmp_path, size=size)
    plain, by_value, _ = results[0]
    for paths, _, read in results:
        assert paths == plain == [tmp_path / "plain" / f"part-{rank:05d}.{suffix}" for rank in range(size)]
        assert_frame_equal(read, rows)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted([*plain, *by_value])
    types = {"g": pl.String, "b": pl.Boolean}
    if form in ("csv", "ndjson"):
        options = {
            name: {key: kind for key, kind in value.items() if key not in types} for name, value in options.items()
        }
    again = scan(tmp_path / "by_value", **options).collect()
    assert_frame_equal(again.cast({"b": pl.Boolean}).select(rows.columns).sort("row"), rows)
    one = next(path for path in by_value if "g=ant/b=true" in str(path))
    assert "g" not in scan(one, **options).columns or form in ("parquet", "ipc")


def _failing(comm: rc.Communicator, folder: Path) -> list[str]:
    table = rc.from_polars(share(ROWS, comm.rank, comm.size, "even"), comm)
    nested = table.with_columns(pl.concat_list("k"))
    bad = pl.col("row").map_elements(lambda row: 1 // (ROWS.height - 1 - row), return_dtype=pl.Int64)
    messages = []
    for attempt in (
        lambda: nested.write_csv(folder / "nested"),
        lambda: table.with_columns(bad).write_parquet(folder / "failing"),
        lambda: table.write_parquet(folder / "kept"),
        lambda: table.write_parquet(folder / "kept", overwrite=True),
        lambda: table.write_csv(folder / "table", partition_by="k"),
        lambda: table.write_csv(folder / "table", overwrite=True),
        lambda: table.write_parquet(folder / "kept/file.txt/table"),
    ):
        try:
            attempt()
            messages.append("")
        except Exception as error:
            messages.append(f"{type(error).__name__}: {error}")
    return messages


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """Whichever rank fails; and what others wrote is not replaced unless these methods wrote it."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file.txt").write_text("mine")
    for nested, failing, kept, kept_too, first, second, below in run_on_ranks(_failing, tmp_path, size=3):
        assert nested.startswith("DataError") and "nested" in nested
        assert "by zero" in failing
        assert "file.txt" in kept and "overwrite=True" in kept and "file.txt" in kept_too
        assert first == second == ""
        assert "file.txt" in below
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "table"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["file.txt"]
    assert sorted(path.name for path in (tmp_path / "table").iterdir()) == [f"part-{rank:05d}.csv" for rank in range(3)]


def test_arrays_of_other_shapes_are_refused() -> None:
    """With what was wrong."""
    with pytest.raises(DataError, match="from NumPy"):
        rc.from_numpy(np.zeros((2, 3)), schema=["a", "b"])
