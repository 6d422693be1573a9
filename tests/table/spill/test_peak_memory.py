"""Tables of four times the memory of a rank, and more than that in files: what each rank holds at most.

Measured is the anonymous and shared memory of each rank (`RssAnon` and `RssShmem`), a hundred times a second,
imported libraries included: that is what `memory=` bounds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.table.spill.memory import resident_bytes

pytestmark = pytest.mark.slow
BUDGET = 192 << 20
COLUMNS = 15
ROWS = 4 * BUDGET // (8 * (COLUMNS + 1))
PRIME = 1_000_003
Peaks = list[int]


def _value(key: pl.Expr, side: str, column: int) -> pl.Expr:
    return (key * (3 + column + (50 if side == "right" else 0))) % PRIME


def _values(key: pl.Expr, side: str) -> list[pl.Expr]:
    return [_value(key, side, column).alias(f"{side}{column}") for column in range(COLUMNS)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of ROWS rows whose keys, 0 to ROWS - 1, are shuffled in two; the other columns follow from the key."""
    folder = tmp_path_factory.mktemp("tables")
    for side, multiplier in (("left", 2_654_435_761), ("right", 40_503 * 2 + 1), ("ordered", 1)):
        (folder / f"{side}.parquet").mkdir()
        for part in range(4):
            numbers = pl.select(i=pl.int_range(ROWS * part // 4, ROWS * (part + 1) // 4))
            keys = numbers.select(k=(pl.col("i") * multiplier) % ROWS)
            rows = keys.with_columns(_values(pl.col("k"), "left" if side == "ordered" else side))
            rows.write_parquet(folder / f"{side}.parquet" / f"{part}.parquet", row_group_size=1 << 16)
            if side == "left":
                rows.write_csv(folder / f"left-{part}.csv")
    return folder


@contextmanager
def _watched() -> Iterator[Peaks]:
    peaks, ended = [resident_bytes()], threading.Event()

    def look() -> None:
        while not ended.wait(0.01):
            peaks[0] = max(peaks[0], resident_bytes())

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield peaks
    finally:
        ended.set()
        watch.join()


def _left(comm: rc.Communicator, folder: str, kind: str) -> rc.Table:
    if kind == "csv":
        return rc.scan_csv(f"{folder}/left-*.csv", comm)
    return rc.scan_parquet(f"{folder}/{'ordered' if kind == 'ordered' else 'left'}.parquet", comm)


def _joined(comm: rc.Communicator, folder: str, kind: str) -> tuple[pl.DataFrame, Peaks]:
    with _watched() as peaks:
        rows = _left(comm, folder, kind).join(rc.scan_parquet(f"{folder}/right.parquet", comm), on="k")
        sums = rows.group_by(pl.col("k") % 8).agg(pl.len(), (pl.col("left0") * pl.col("right14")).sum())
        part = sums.gather()
    return part, [peak for every in comm.all_gather(peaks) for peak in every]


def _stored(
    comm: rc.Communicator, folder: str, work: Callable[[rc.Table], rc.Table], peak_file: str, kind: str = "parquet"
) -> rc.Dataset:
    with _watched() as peaks:
        kept = work(_left(comm, folder, kind)).persist()
    Path(peak_file.format(rank=comm.rank)).write_text(str(peaks[0]))
    return kept


def _sort(table: rc.Table) -> rc.Table:
    return table.sort("k")


def _halves(table: rc.Table) -> rc.Table:
    return table.group_by(pl.col("k") // 2).agg(pl.all().exclude("k").sum())


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_join_of_tables_of_four_times_the_budget_stays_within_it(tables: Path, tmp_path: Path, kind: str) -> None:
    """Every key finds its pair, and no rank holds more than 1.25 times its memory."""
    with rc.Session(cores=2, run_dir=tmp_path) as session:
        future = session.submit(_joined, str(tables), kind, ranks=2, comm="mpi", memory=BUDGET)
        sums, peaks = future.result(timeout=300)
    product = _value(pl.col("k"), "left", 0) * _value(pl.col("k"), "right", 14)
    right = pl.select(k=pl.int_range(ROWS)).group_by(pl.col("k") % 8).agg(pl.len(), product.sum().alias("left0"))
    assert sums.sort("k").equals(right.sort("k"))
    assert max(peaks) <= 1.25 * BUDGET


def _window(table: rc.Table) -> rc.Table:
    return table.with_columns(pl.col("left0").sum().over(pl.col("k") // 4).alias("quarter"))


def _in_order(table: rc.Table) -> rc.Table:
    return table.with_columns(pl.col("k").shift(1).alias("before"), pl.col("left1").cum_sum().alias("so_far"))


def _groups_in_order(table: rc.Table) -> rc.Table:
    return table.group_by(pl.col("k") // 2, maintain_order=True).agg(pl.all().exclude("k").sum())


def _sampled(table: rc.Table) -> rc.Table:
    return table.sample(fraction=0.5, seed=3).reverse()


def _best(table: rc.Table) -> rc.Table:
    return table.top_k(ROWS // 3, by="k")


def _ranked(table: rc.Table) -> rc.Table:
    return table.with_columns(pl.col("left0").rank("min").alias("place"))


def _beside(table: rc.Table) -> rc.Table:
    """A median beside rows, smoothed values, and values between others."""
    return table.with_columns(
        (pl.col("left0") - pl.col("left0").median()).alias("apart"),
        pl.col("left1").ewm_mean(alpha=0.01).alias("smooth"),
        pl.when(pl.col("k") % 3 == 0).then("left2").interpolate().alias("between"),
    )


_AT = pl.from_epoch("k", "s").cast(pl.Datetime("us")).alias("at")


def _minutes(table: rc.Table) -> rc.Table:
    return table.with_columns(_AT).group_by_dynamic("at", every="1m").agg(pl.exclude("at").sum())


def _reaching_back(table: rc.Table) -> rc.Table:
    near = pl.col("left0").rolling_mean_by("at", "1m").alias("near")
    return table.with_columns(_AT).with_columns(near, pl.col("left1").ewm_mean_by("at", half_life="1m").alias("smooth"))


def _nearest(table: rc.Table) -> rc.Table:
    third = table.filter(pl.col("k") % 3 == 0).rename({f"left{column}": f"right{column}" for column in range(COLUMNS)})
    return table.join_asof(third, on="k")


def _aggregates(table: rc.Table) -> rc.Table:
    every = [pl.col(f"left{column}").mean().alias(f"left{column}") for column in range(COLUMNS)]
    return table.select(*every, pl.col("k").n_unique(), middle=pl.col("k").median(), last=pl.col("k").last())


@pytest.mark.parametrize("work", [_sort, _halves])
def test_sort_and_group_by_of_four_times_the_budget_stay_within_it(
    tables: Path, tmp_path: Path, work: Callable[[rc.Table], rc.Table]
) -> None:
    """All rows are there, in order or in their groups, and no rank holds more than 1.25 times its memory."""
    with rc.Session(cores=2, run_dir=tmp_path) as session:
        peak_file = f"{tmp_path}/peak-{{rank}}"
        future = session.submit(_stored, str(tables), work, peak_file, ranks=2, comm="mpi", memory=BUDGET)
        rows = future.result(timeout=300).to_polars()
    peaks = [int(Path(peak_file.format(rank=rank)).read_text()) for rank in range(2)]
    keys = pl.select(k=pl.int_range(ROWS if work is _sort else ROWS // 2))
    if work is _sort:
        right = keys.select("k", *_values(pl.col("k"), "left"))
    else:
        first, second = _values(pl.col("k") * 2, "left"), _values(pl.col("k") * 2 + 1, "left")
        right = keys.select("k", *(one + other for one, other in zip(first, second, strict=True)))
        rows = rows.sort("k")
    assert rows.equals(right)
    assert max(peaks) <= 1.25 * BUDGET


@pytest.mark.timeout(400)
@pytest.mark.parametrize("work", [_window, _in_order, _groups_in_order, _sampled, _best, _aggregates, _ranked, _beside])
def test_windows_orders_choices_and_aggregates_of_four_times_the_budget_stay_within_it(
    tables: Path, tmp_path: Path, work: Callable[[rc.Table], rc.Table]
) -> None:
    """What is kept on disk is what Polars makes of the whole, and no rank holds more than 1.25 times its memory."""
    with rc.Session(cores=2, run_dir=tmp_path) as session:
        peak_file = f"{tmp_path}/peak-{{rank}}"
        future = session.submit(_stored, str(tables), work, peak_file, ranks=2, comm="mpi", memory=BUDGET)
        rows = future.result(timeout=300).to_polars()
    peaks = [int(Path(peak_file.format(rank=rank)).read_text()) for rank in range(2)]
    whole = pl.scan_parquet(tables / "left.parquet")
    if work is _sampled:
        assert rows.equals(rc.from_polars(whole.collect()).sample(fraction=0.5, seed=3).reverse().collect())
    else:
        wanted = work(whole).collect()  # type: ignore[arg-type]
        if work is _best:
            rows, wanted = rows.sort("k"), wanted.sort("k")
        assert_frame_equal(rows, wanted)
    assert max(peaks) <= 1.25 * BUDGET, [peak / BUDGET for peak in peaks]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("work", [_minutes, _reaching_back, _nearest])
def test_windows_of_time_and_the_nearest_rows_of_four_times_the_budget_stay_within_it(
    tables: Path, tmp_path: Path, work: Callable[[rc.Table], rc.Table]
) -> None:
    """In order batches meet their neighbours, as in Polars; no rank holds more than 1.25 times its memory."""
    with rc.Session(cores=2, run_dir=tmp_path) as session:
        peak_file = f"{tmp_path}/peak-{{rank}}"
        future = session.submit(_stored, str(tables), work, peak_file, "ordered", ranks=2, comm="mpi", memory=BUDGET)
        rows = future.result(timeout=300).to_polars()
    peaks = [int(Path(peak_file.format(rank=rank)).read_text()) for rank in range(2)]
    assert_frame_equal(rows, work(pl.scan_parquet(tables / "ordered.parquet")).collect())  # type: ignore[arg-type]
    assert max(peaks) <= 1.25 * BUDGET, [peak / BUDGET for peak in peaks]


def _in_folders(comm: rc.Communicator, folder: str, target: str) -> Peaks:
    with _watched() as peaks:
        _left(comm, folder, "parquet").with_columns(part=pl.col("k") % 4).write_parquet(target, partition_by="part")
    return [peak for every in comm.all_gather(peaks) for peak in every]


def _compared(comm: rc.Communicator, folder: str) -> tuple[bool, Peaks]:
    with _watched() as peaks:
        same = _left(comm, folder, "parquet").equals(_left(comm, folder, "parquet").filter(pl.col("k") >= 0))
    return same, [peak for every in comm.all_gather(peaks) for peak in every]


@pytest.mark.timeout(400)
def test_writing_four_times_the_budget_into_folders_stays_within_it(tables: Path, tmp_path: Path) -> None:
    """Each folder has its rows, and no rank holds more than 1.25 times its memory."""
    target = str(tmp_path / "rows")
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        future = session.submit(_in_folders, str(tables), target, ranks=2, comm="mpi", memory=BUDGET)
        peaks = future.result(timeout=300)
    written = pl.scan_parquet(target, hive_partitioning=True).group_by("part").agg(pl.len(), (pl.col("k") % 4).max())
    assert written.sort("part").collect().rows() == [(part, ROWS // 4, part) for part in range(4)]
    assert max(peaks) <= 1.25 * BUDGET, [peak / BUDGET for peak in peaks]


@pytest.mark.timeout(400)
def test_comparing_three_times_the_budget_stays_within_it(tables: Path, tmp_path: Path) -> None:
    """A table equals itself, and no rank holds more than 1.25 times its memory."""
    budget = BUDGET * 4 // 3  # The last of its three plans begins with what the allocator keeps of the others.
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        same, peaks = session.submit(_compared, str(tables), ranks=2, comm="mpi", memory=budget).result(timeout=300)
    assert same
    assert max(peaks) <= 1.25 * budget, [peak / budget for peak in peaks]
