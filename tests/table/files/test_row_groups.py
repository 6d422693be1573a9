"""Parquet row groups that are larger than the room are read in parts, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.table.files import portions, row_groups
from tests.ranks import run_on_ranks
from tests.table.budget import spilling
from tests.table.data import mixed

ROWS = mixed(700, 21).drop("c", "e", "n")


def _spilled(comm: rc.Communicator, files: str, options: dict[str, Any]) -> tuple[pl.DataFrame, int]:
    """All rows, and how many frames were read page by page."""
    read = 0
    usual = row_groups._BATCH_ROWS, portions.pages

    def counted(*args: Any) -> Any:
        nonlocal read
        for frame in usual[1](*args):
            read += 1
            yield frame

    row_groups._BATCH_ROWS, portions.pages = 50, counted
    try:
        with spilling(30_000):
            rows = rc.scan_parquet(files, comm, **options).filter(pl.col("k") != 3).gather(0)
    finally:
        row_groups._BATCH_ROWS, portions.pages = usual
    return rows, sum(comm.all_gather(read))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize(("group_rows", "limit"), [(700, None), (400, None), (700, 333)])
def test_rows_of_large_row_groups_are_all_there_in_order(
    tmp_path: Path, size: int, group_rows: int, limit: int | None
) -> None:
    """Whatever of a row group a rank reads; types, nulls and order are Polars'."""
    for part in range(2):
        ROWS.write_parquet(tmp_path / f"{part}.parquet", row_group_size=group_rows)
    options = {} if limit is None else {"n_rows": limit}
    rows, read = run_on_ranks(_spilled, str(tmp_path), options, size=size, backend="gloo" if size > 1 else "solo")[0]
    assert_frame_equal(rows, pl.scan_parquet(tmp_path, **options).filter(pl.col("k") != 3).collect())
    assert read >= 6


def test_types_that_arrow_reads_otherwise_are_left_to_polars(tmp_path: Path) -> None:
    """The rows are the same."""
    rows = mixed(300, 22)
    rows.write_parquet(tmp_path / "rows.parquet")
    found, _ = run_on_ranks(_spilled, str(tmp_path), {"row_index_name": "row"}, size=2)[0]
    assert_frame_equal(
        found,
        pl.scan_parquet(tmp_path, row_index_name="row").filter(pl.col("k") != 3).collect(),
        categorical_as_str=True,
    )
