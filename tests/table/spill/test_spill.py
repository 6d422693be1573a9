"""Within a memory budget every operator goes in rounds and spills, and gives what Polars gives."""

from __future__ import annotations

import functools
from pathlib import Path

import polars as pl
import pytest

import deeprc as rc
from deeprc.journal import read_run
from deeprc.workspace import scratch_of
from tests.ranks import run_on_ranks
from tests.table.budget import run_cases_spilling, spilling
from tests.table.compare import Launch, Result, assert_same, expected
from tests.table.frame_cases import ALL_CASES as CASES

ALL = (
    *("filter", "select_sum", "select_median", "with_columns_over", "with_columns_cumulative", "head"),
    *(
        f"join_{how}_{keys}"
        for how in ("inner", "left", "right", "full", "semi", "anti")
        for keys in ("key", "expression")
    ),
    *("join_nulls_equal", "join_full_coalesced", "join_cross", "asof_backward_None_by", "join_self", "join_struct"),
    *("group_sum", "group_first_last", "group_lists", "group_any", "group_ordered", "group_categorical"),
    *("sort", "sort_stable", "sort_directions", "sort_struct", "sort_head", "unique_first", "unique_none_ordered"),
    *("unique_rows", "concat", "concat_head", "union"),
    *("around_shift", "around_all", "around_cumulative", "around_fill", "around_over", "around_nested"),
    *("around_repeats", "around_rolling", "around_filter", "select_index", "fill_null_limit", "sort_shift"),
    *("with_columns_mixed", "select_first", "select_all_sum", "select_literal", "fill_null_mean", "filter_above_mean"),
    *("top_k", "top_k_reverse", "bottom_k", "unique_first_ordered", "unique_last_ordered", "group_udf"),
    *("around_rank", "share_rank_nan", "agg_computed", "agg_quantiles", "agg_in_rows", "share_times", "share_several"),
)
# What depends on the order of rows, or of a column.
IN_ORDER = (
    *("asof_backward_None_all", "asof_forward_3_all", "asof_nearest_None_all", "around_interpolate", "share_nearest"),
    *("around_interpolate_by", "around_ewm_True_True", "around_ewm_False_False", "share_ewm_True_False_False"),
    *("share_ewm_False_True_True", "share_ewm_by", "share_ewm_by_unsorted", "times_by", "times_by_integer"),
    *(
        "concat_horizontal",
        "times_by_unsorted",
        "times_dynamic_both_zoned",
        "times_dynamic_weeks_naive",
        "times_dynamic_offset_zoned",
    ),
    *("times_rolling_3h_1h_both_zoned", "times_rolling_1d_-3d_none_naive", "times_rolling_integer"),
)
assert {*ALL, *IN_ORDER} <= set(CASES)
ROWS = 5_000_000
LAUNCHES = {
    "solo": (Launch("solo", 1, "even", ALL, ("mixed",)), 120_000),
    "gloo2": (Launch("gloo", 2, "even", ALL, ("mixed", "empty")), 60_000),
    "gloo3": (Launch("gloo", 3, "last", ALL, ("skewed",)), 30_000),
    "mpi2": (Launch("mpi", 2, "even", ALL, ("all_null",)), 8_000),
    "gloo4": (Launch("gloo", 4, "even", ALL, ("distinct",)), 30_000),
    "solo in order": (Launch("solo", 1, "even", IN_ORDER, ("skewed",)), 120_000),
    "gloo2 in order": (Launch("gloo", 2, "last", IN_ORDER, ("mixed",)), 60_000),
    "gloo3 in order": (Launch("gloo", 3, "even", IN_ORDER, ("distinct", "empty")), 30_000),
}
SLOW = ("gloo2", "gloo4")
WANTED = [
    pytest.param(launch, name, data, marks=[pytest.mark.slow] if launch in SLOW else [])
    for launch, (what, _) in LAUNCHES.items()
    for name in what.names
    for data in what.frames
]


@functools.cache
def results(launch: str) -> dict[tuple[str, str], Result]:
    """All cases of a launch, run once."""
    what, room = LAUNCHES[launch]
    return run_on_ranks(run_cases_spilling, what, room, size=what.size, backend=what.backend)[0]


cached_expected = functools.cache(expected)


@pytest.mark.parametrize(("launch", "name", "data"), WANTED)
def test_operator_gives_what_polars_gives(launch: str, name: str, data: str) -> None:
    """The rows of all ranks together are Polars' rows."""
    assert_same(results(launch)[name, data], cached_expected(name, data), ordered=CASES[name].ordered)


def _warnings(comm: rc.Communicator, operator: str) -> list[str]:
    """What this rank warns of, of a table of which one key has three quarters of the rows."""
    rows = 4000
    part = pl.DataFrame({"k": range(rows)}).select(k=pl.when(pl.col("k") % 4 > 0).then(-7).otherwise("k"), x="k")
    with spilling(100_000, heavy_from_rows=0) as events:
        heavy = rc.from_polars(part, comm)
        if operator == "group_by":
            heavy.group_by("k").agg(pl.col("x").median()).collect()
        else:
            heavy.join(rc.from_polars(part.unique("k"), comm).select("k").unique(), on="k").collect()
    return [event["message"] for event in events if event["kind"] == "warning"]


@pytest.mark.parametrize("operator", ["group_by", "join"])
def test_a_heavy_key_is_told_of_once_with_its_share(operator: str) -> None:
    """One rank alone says which key has how many of the rows, as counted, not as sampled."""
    found = [message for messages in run_on_ranks(_warnings, operator, size=2) for message in messages]
    assert len(found) == 1, found
    assert "-7" in found[0] and "75%" in found[0], found


def _kept(comm: rc.Communicator, folder: str) -> rc.Dataset:
    return rc.scan_parquet(f"{folder}/left", comm).join(rc.scan_parquet(f"{folder}/right", comm), on="k").persist()


@pytest.mark.slow
def test_memory_of_a_task_is_what_its_tables_stay_within(tmp_path: Path) -> None:
    """Tables larger than the task's memory= are joined in rounds; nothing stays in the scratch folder."""
    # Torch, for GLOO, takes about 200 MiB. The join is expected to take 3 * (80 + 80 + 120) MB / 2 of a rank, more than
    # is left of its memory even if the rank held nothing else than 100 MiB; rounds take about half of what is left.
    keys = pl.DataFrame({"k": range(ROWS)})
    for side in ("left", "right"):
        rc.from_polars(keys.with_columns(pl.col("k").alias(side))).write_parquet(tmp_path / side)
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        future = session.submit(_kept, str(tmp_path), ranks=2, comm="gloo", memory="500MiB")
        rows = future.result(timeout=120).to_polars().sort("k")
        events = list(read_run(session.run_directory).events)
        assert not list(scratch_of(session.run_directory).glob("*"))
    exchanges = [event for event in events if event["kind"] == "exchange"]
    assert rows.equals(keys.with_columns(left="k", right="k"))
    assert {event.get("rounds", 0) > 1 for event in exchanges} == {True}
    assert sum(event["bytes_spilled"] for event in exchanges) >= 2 * ROWS * 16
