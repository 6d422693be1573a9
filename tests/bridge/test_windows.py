"""Windows: the same as a plain loop finds, split evenly, and the same global batches for any number of ranks."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deeprc as rc
from deeprc.bridge import Dataset, Windows
from deeprc.bridge.stretches import longest_stretch, stretches, window_starts
from tests.bridge.frames import lies_in

START = dt.date(2020, 1, 1)


def rivers(days: int = 30, names: str = "ab", **missing: list[int]) -> pl.DataFrame:
    """`days` rows for each river; flow is 100 * river + day, rain its negative; `missing` rows are null."""
    frame = pl.DataFrame(
        [
            {"river": name, "day": START + dt.timedelta(day), "flow": 100.0 * number + day, "rain": -100 * number - day}
            for number, name in enumerate(names)
            for day in range(days)
        ]
    ).with_row_index()
    nulls = [pl.when(~pl.col("index").is_in(rows)).then(column).alias(column) for column, rows in missing.items()]
    return frame.with_columns(nulls).drop("index")


def windows_of(frame: pl.DataFrame, **options: Any) -> Windows:
    arguments = {"target": "flow", "lookback": 3, "horizon": 2, "by": "river", "time": "day", **options}
    return Dataset.from_polars(frame).windows(**arguments)


def by_loop(
    groups: list[int],
    times: list[int],
    feature: list[float],
    target: list[float],
    shape: tuple[int, int, int],
) -> list[int]:
    """First rows of all windows, found the plain way. Rows are in order."""
    lookback, horizon, stride = shape
    steps = [times[i] - times[i - 1] for i in range(1, len(times)) if groups[i] == groups[i - 1]]
    step = min(steps, key=lambda step: (-steps.count(step), step)) if steps else 0
    found, since = [], 0
    for first in range(len(groups)):
        if first and (groups[first] != groups[first - 1] or times[first] - times[first - 1] != step):
            since = first
        rows = range(first, first + lookback + horizon)
        if (first - since) % stride or rows[-1] >= len(groups):
            continue
        if any(groups[i] != groups[i - 1] or times[i] - times[i - 1] != step for i in rows[1:]):
            continue
        if np.isnan(feature[first : first + lookback]).any() or np.isnan(target[first + lookback : rows[-1] + 1]).any():
            continue
        found.append(first)
    return found


values = st.sampled_from([0.0, 1.0, 2.0, 3.0, float("nan")])
rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 25), values, values), max_size=40, unique_by=lambda row: row[:2]
)


@settings(max_examples=300, deadline=None)
@given(rows, st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)))
def test_windows_are_those_a_loop_finds(rows: list[tuple[int, int, float, float]], shape: tuple[int, int, int]) -> None:
    """Groups, gaps, strides, missing values and rows in any order: exactly the windows of the definition."""
    lookback, horizon, stride = shape
    frame = pl.DataFrame(rows, schema={"g": pl.Int64, "t": pl.Int64, "f": pl.Float64, "y": pl.Float64}, orient="row")
    found = stretches(frame.select("g", "t"), ["g"], "t")
    ordered = frame if found.order is None else frame[found.order.tolist()]
    begun = list(dict.fromkeys(ordered["g"]))
    assert ordered["g"].to_list() == [g for g in begun for _ in range(ordered["g"].to_list().count(g))]
    f, y = ordered["f"].to_numpy(), ordered["y"].to_numpy()
    starts = window_starts(found.begins, lookback, horizon, stride, np.isnan(f), np.isnan(y))
    assert starts.tolist() == by_loop(ordered["g"].to_list(), ordered["t"].to_list(), list(f), list(y), shape)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12))
def test_the_longest_stretch_is_counted_right(rows: list[tuple[bool, bool]]) -> None:
    """The number in the error is the one that a person would count."""
    begins, missing = (np.array([row[column] for row in rows], np.bool_) for column in (0, 1))
    longest = length = 0
    for begin, miss in rows:
        length = 0 if miss else 1 if begin else length + 1
        longest = max(longest, length)
    assert longest_stretch(begins, missing) == longest


def test_a_window_holds_the_right_rows() -> None:
    """Inputs are the features' `lookback` rows in the order asked for, targets the `horizon` rows after."""
    windows = windows_of(rivers(), features=["rain", "flow"])
    assert (windows.input_shape, windows.target_shape, len(windows)) == ((3, 2), (2,), 2 * 26)
    inputs, targets = windows[26]
    assert inputs.tolist() == [[-100, 100], [-101, 101], [-102, 102]]
    assert targets.tolist() == [103, 104]
    assert inputs.dtype == targets.dtype == np.float32
    with pytest.raises(IndexError):
        windows[52]


def test_without_features_the_target_predicts_itself() -> None:
    """The inputs are the target's own past; `dtype` chooses the precision."""
    inputs, targets = windows_of(rivers(), dtype="float64")[0]
    assert (inputs.tolist(), targets.tolist(), inputs.dtype) == ([[0], [1], [2]], [3, 4], np.float64)


def test_a_missing_value_matters_only_where_it_is_read() -> None:
    """A null target is harmless in the lookback, unless the target is a feature; so is a null feature later."""
    assert windows_of(rivers(9, "a", flow=[2]), features=["rain"]).starts.tolist() == [0, 1, 2, 3, 4]
    assert windows_of(rivers(9, "a", flow=[2])).starts.tolist() == [3, 4]
    assert windows_of(rivers(9, "a", rain=[8]), features=["rain"]).starts.tolist() == [0, 1, 2, 3, 4]


def test_rows_in_any_order_are_put_in_order() -> None:
    """Shuffled rows give the windows of the sorted ones; the ledger says that it took a copy."""
    shuffled = windows_of(rivers().sample(fraction=1.0, shuffle=True, seed=1), features=["rain", "flow"])
    plain = windows_of(rivers(), features=["rain", "flow"])
    for one, other in zip(shuffled.gather(np.arange(52)), plain.gather(np.arange(52)), strict=True):
        np.testing.assert_array_equal(one, other)
    reasons = {entry.reason for entry in shuffled._dataset.ledger() if entry.to == "numpy"}
    assert reasons == {"its rows are not in the order of series and time"}


def test_series_stay_in_the_mapped_file() -> None:
    """Nothing is materialised: the windows are cut from the file's own memory."""
    windows = windows_of(rivers(), features=["rain"])
    dataset = windows._dataset
    assert {(entry.column, entry.to, entry.mode) for entry in dataset.ledger()} == {
        ("river", "polars", "shared"),
        ("day", "polars", "shared"),
        ("rain", "numpy", "shared"),
        ("flow", "numpy", "shared"),
    }
    assert all(lies_in(series.ctypes.data, dataset.parts[0].path) for series in windows._series.values())


@pytest.mark.parametrize(("every", "expected"), [("1mo", 20), ("1q", 20), ("1y", 20), ("1d", 20), ("15m", 20)])
def test_calendar_steps_are_no_gaps(every: str, expected: int) -> None:
    """Months, quarters and years differ in days and are regular all the same."""
    moments = pl.datetime_range(dt.datetime(2000, 1, 31), dt.datetime(2050, 1, 1), every, eager=True).head(24)
    frame = pl.DataFrame({"river": "a", "day": moments, "flow": np.arange(24.0)})
    assert len(windows_of(frame)) == expected
    assert len(windows_of(frame.filter(pl.col("flow") != 9))) == expected - 4 - 1


def test_parts_of_several_ranks_are_one_table() -> None:
    """A series that is spread over two parts is whole again."""
    frame = rivers()
    merged = Dataset.merge([Dataset.from_polars(frame.head(17)), Dataset.from_polars(frame.tail(43))])
    windows = merged.windows(target="flow", lookback=3, horizon=2, by="river", time="day")
    np.testing.assert_array_equal(windows.starts, windows_of(frame).starts)


@settings(max_examples=60, deadline=None)
@given(days=st.integers(6, 14), size=st.integers(1, 4), per_rank=st.integers(1, 3), epoch=st.integers(0, 3))
def test_ranks_share_evenly(days: int, size: int, per_rank: int, epoch: int) -> None:
    """Every rank has as many windows and batches; none is on two ranks; at most `size - 1` are left out."""
    dataset = Dataset.from_polars(rivers(days))
    ranks = [
        dataset.windows(target="flow", lookback=3, horizon=2, by="river", rank=rank, size=size)
        for rank in range(size)
        if 2 * (days - 4) >= size
    ]
    total = 2 * (days - 4)
    if not ranks:
        return
    mine = [[tuple(windows[i][1]) for i in range(len(windows))] for windows in ranks]
    assert {len(windows) for windows in mine} == {total // size}
    assert len({window for windows in mine for window in windows}) == total // size * size
    for drop_last in (True, False):
        if total < size * per_rank and drop_last:
            continue
        batches = [list(w.batches(size * per_rank, seed=3, epoch=epoch, drop_last=drop_last)) for w in ranks]
        assert {len(batch) for batch in batches} == {ranks[0].num_batches(size * per_rank, drop_last=drop_last)}
        seen = [tuple(target) for rank in batches for _, targets in rank for target in targets]
        assert len(seen) == len(set(seen))
        left_out = total - len(seen)
        assert left_out == total % (size * per_rank) if drop_last else left_out < size


def test_the_global_batch_is_the_same_for_any_number_of_ranks() -> None:
    """One rank's batch is the union, in rank order, of what 2, 3, 4 or 6 ranks get: they train alike."""
    dataset = Dataset.from_polars(rivers(33, "abc"))

    def batches(rank: int, size: int, **options: Any) -> list[tuple[Any, Any]]:
        windows = dataset.windows(
            target="flow", features=["rain"], lookback=4, horizon=1, by="river", time="day", rank=rank, size=size
        )
        return list(windows.batches(12, **options))

    for options in ({"seed": 5, "epoch": 0}, {"seed": 5, "epoch": 1}, {"seed": None}):
        alone = batches(0, 1, **options)
        for size in (2, 3, 4, 6):
            together = [batches(rank, size, **options) for rank in range(size)]
            for number, batch in enumerate(alone):
                for part in (0, 1):
                    union = np.concatenate([rank[number][part] for rank in together])
                    np.testing.assert_array_equal(union, batch[part])


def test_shuffles_differ_by_seed_and_epoch_only() -> None:
    """The same seed and epoch give the same order, in another process too; None keeps the row order."""
    windows = windows_of(rivers())
    copy = pickle.loads(pickle.dumps(windows))

    def order(windows: Windows, seed: int | None, epoch: int) -> list[int]:
        return np.concatenate(list(windows.batch_indices(4, seed, epoch))).tolist()

    assert len(pickle.dumps(windows)) < 1500
    assert order(windows, 1, 0) == order(copy, 1, 0)
    assert len({tuple(order(windows, seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4
    assert order(windows, None, 3) == list(range(52))


def test_torch_reads_the_same_batches() -> None:
    """The loader gives the batches of `batches`, epoch after epoch, with worker processes or without."""
    windows = windows_of(rivers(), rank=1, size=2)
    for workers in (0, 1):
        loader = windows.to_torch_loader(8, seed=2, num_workers=workers)
        assert len(loader) == 6
        for epoch in (0, 1):
            for (inputs, targets), batch in zip(loader, windows.batches(8, seed=2, epoch=epoch), strict=True):
                np.testing.assert_array_equal(inputs.numpy(), batch[0])
                np.testing.assert_array_equal(targets.numpy(), batch[1])
    loader.batch_sampler.set_epoch(0)  # type: ignore[union-attr]
    np.testing.assert_array_equal(next(iter(loader))[1], next(windows.batches(8, seed=2))[1])
    items = windows.to_torch()
    assert len(items) == len(windows) == 26  # type: ignore[arg-type]
    np.testing.assert_array_equal(items[3][0].numpy(), windows[3][0])


def test_tensorflow_reads_the_same_batches() -> None:
    """tf.data gives the batches of `batches`, knows how many there are, and goes on to the next epoch."""
    windows = windows_of(rivers(), rank=1, size=2)
    dataset = windows.to_tf(8, seed=2, drop_last=False)
    assert len(dataset) == windows.num_batches(8, drop_last=False) == 7
    for epoch in (0, 1):
        expected = windows.batches(8, seed=2, epoch=epoch, drop_last=False)
        for (inputs, targets), batch in zip(dataset.as_numpy_iterator(), expected, strict=True):
            np.testing.assert_array_equal(inputs, batch[0])
            np.testing.assert_array_equal(targets, batch[1])


def test_the_ledger_tells_what_batches_copy() -> None:
    """Bytes of one pass: windows overlap, so a pass copies more than the series holds."""
    windows = windows_of(rivers(), features=["rain", "flow"])
    windows.to_torch_loader(4)
    rain, flow = windows._dataset.ledger()[-2:]
    assert (rain.column, rain.to, rain.mode, rain.bytes) == ("rain", "torch", "copied", 52 * 3 * 4)
    assert (flow.column, flow.bytes, flow.reason[:15]) == ("flow", 52 * (3 + 2) * 4, "windows overlap")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"target": "folw"}, r"target: no column 'folw'. Did you mean 'flow'\? Valid target columns: flow, rain"),
        ({"target": "river"}, "target: column 'river' is String. Valid target columns: flow, rain"),
        ({"features": "day"}, "feature: column 'day' is Date. Valid feature columns: flow, rain"),
        ({"by": "basin"}, "by: no column 'basin'"),
        ({"time": "river"}, "time: column 'river' is String.*Valid time columns: day, rain"),
        ({"lookback": 0}, "lookback must be a whole number, 1 or more, not 0"),
        ({"horizon": -1}, "horizon must be a whole number, 1 or more, not -1"),
        ({"stride": 1.5}, "stride must be a whole number, 1 or more, not 1.5"),
        ({"rank": 2, "size": 2}, "rank 2 is none of the 2 ranks 0 to 1"),
        ({"dtype": "int8"}, "unknown dtype 'int8'.*float32, float64"),
        ({"lookback": 29}, r"0 windows.*29 \+ 2 = 31 rows in a row; the longest .* has 30 of the 60 rows"),
        ({"lookback": 28, "size": 4}, r"2 windows, too few for 4 ranks: a window needs 28 \+ 2 = 30 rows"),
        ({"by": ()}, "rows of one series have the same time: day = 2020-01-01 .*by="),
    ],
)
def test_bad_requests_are_refused(options: dict[str, Any], expected: str) -> None:
    """Before any work, with the valid values or the number of rows that are needed."""
    with pytest.raises(rc.DeepRCError, match=expected):
        windows_of(rivers(), **options)


def test_missing_times_are_refused() -> None:
    """A row without a time has no place in a series."""
    with pytest.raises(rc.DeepRCError, match="time column 'day' has 1 nulls"):
        windows_of(rivers(day=[3]))


def test_bad_batches_are_refused() -> None:
    """When the batches are asked for, not when the first is read."""
    windows = windows_of(rivers(), size=2)
    for ask in (windows.batches, windows.to_torch_loader, windows.to_tf):
        with pytest.raises(rc.DeepRCError, match="global batch of 7 windows cannot be split evenly over 2 ranks"):
            ask(7)
        with pytest.raises(
            rc.DeepRCError, match=r"52 windows on all ranks, too few for one batch of 64.*drop_last=False"
        ):
            ask(64)
    assert len(list(windows.batches(64, drop_last=False))) == 1
