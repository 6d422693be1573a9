"""Mistakes are refused at plan time with the valid values; a failure on one rank ends the call on all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import deeprc as rc
from deeprc.errors import DataError, MissingDependencyError, ResourceError, SpecError
from deeprc.table.engines import computing_with
from deeprc.table.stage import compute
from tests.ranks import run_on_ranks
from tests.table.data import frames

TABLE = rc.from_polars(frames()["few"])
OTHER = rc.from_polars(frames()["few"].select("k", "g", pl.col("k").alias("k_right")))
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {
    "select": (lambda: TABLE.select("kk"), DataError, ["no column 'kk'", "Valid columns: b, c", "Did you mean 'k'"]),
    "filter": (lambda: TABLE.filter(pl.col("q") > 1), DataError, ["'q'", "Valid columns"]),
    "filter_type": (lambda: TABLE.filter("g"), DataError, ["must be of type `Boolean`"]),
    "with_columns": (lambda: TABLE.with_columns(pl.col("q")), DataError, ["with_columns", "'q'"]),
    "rename": (lambda: TABLE.rename({"q": "z"}), DataError, ["'q'", "Valid columns"]),
    "rename_twice": (lambda: TABLE.rename({"k": "g"}), DataError, ["'g'", "duplicate"]),
    "drop": (lambda: TABLE.drop("q"), DataError, ["'q'", "Valid columns"]),
    "duplicate": (lambda: TABLE.select("k", pl.col("g").alias("k")), DataError, ["duplicate", "'k'"]),
    "join_how": (lambda: TABLE.join(TABLE, on="k", how="outer"), SpecError, ["'outer'", "full, inner, left"]),
    "join_key": (lambda: TABLE.join(OTHER, on="x"), DataError, ["right keys", "'x'", "Valid columns: g, k, k_right"]),
    "join_no_key": (lambda: TABLE.join(OTHER), SpecError, ["on="]),
    "join_half": (lambda: TABLE.join(OTHER, left_on="k"), SpecError, ["left_on= and right_on="]),
    "join_types": (lambda: TABLE.join(OTHER, left_on="k", right_on="g"), DataError, ["don't match"]),
    "join_suffix": (
        lambda: TABLE.join(OTHER, left_on="i", right_on="k_right").join(OTHER, on="i"),
        DataError,
        ["'i'"],
    ),
    "join_frame": (lambda: TABLE.join(frames()["few"], on="k"), SpecError, ["from_polars"]),
    "group_by": (lambda: TABLE.group_by("q"), DataError, ["'q'"]),
    "group_by_nothing": (TABLE.group_by, SpecError, ["at least one key"]),
    "agg": (lambda: TABLE.group_by("k").agg(pl.col("q").sum()), DataError, ["'q'", "Valid columns"]),
    "agg_duplicate": (lambda: TABLE.group_by("k").agg(pl.col("k").sum()), DataError, ["k"]),
    "sort": (lambda: TABLE.sort("q"), DataError, ["'q'"]),
    "sort_flags": (lambda: TABLE.sort("k", "g", descending=[True]), SpecError, ["1 values for 2"]),
    "unique": (lambda: TABLE.unique("q"), DataError, ["'q'"]),
    "unique_keep": (lambda: TABLE.unique(keep="best"), SpecError, ["any, first, last, none"]),
    "brackets": (lambda: TABLE["k"], TypeError, ["select(name)"]),
    "brackets_end": (lambda: TABLE[:-1], SpecError, ["goes forward"]),
    "truth": (lambda: bool(TABLE), TypeError, ["is_empty()"]),
    "length": (lambda: len(TABLE), TypeError, ["select(pl.len())"]),
    "iterated": (lambda: list(TABLE), TypeError, ["iter_rows()"]),
    "groups_iterated": (lambda: list(TABLE.group_by("k")), TypeError, ["map_groups"]),
    "gather_rows": (lambda: TABLE.gather([1, 2]), SpecError, ["with_row_index"]),
    "concat_how": (lambda: rc.concat([TABLE], how="align"), SpecError, ["diagonal, diagonal_relaxed", "how='full'"]),
    "concat_beside": (lambda: rc.concat([TABLE, TABLE.head(2)], how="horizontal"), DataError, ["'k'"]),
    "join_order": (lambda: TABLE.join(OTHER, on="k", maintain_order="top"), SpecError, ["left_right"]),
    "join_validate": (lambda: TABLE.join(OTHER, on="k", validate="2:1"), SpecError, ["1:1, 1:m, m:1, m:m"]),
    "where_how": (lambda: TABLE.join_where(OTHER, pl.col("i") > 1, how="semi"), SpecError, ["full, inner, left"]),
    "pivot": (lambda: TABLE.pivot("b", [True]), SpecError, ["index= or values="]),
    "fill_null_both": (lambda: TABLE.fill_null(1, "mean"), SpecError, ["one of them"]),
    "fill_null_strategy": (lambda: TABLE.fill_null(strategy="front"), SpecError, ["'front'", "backward, forward"]),
    "fill_null_limit": (lambda: TABLE.fill_null(strategy="max", limit=1), SpecError, ["limit"]),
    "describe": (lambda: TABLE.describe(1.5), SpecError, ["0..1"]),
    "describe_how": (lambda: TABLE.describe(interpolation="best"), SpecError, ["higher, linear, lower"]),
    "to_torch": (lambda: TABLE.select("k", "g").to_torch(), DataError, ["g", "tensor"]),
    "to_torch_nulls": (lambda: TABLE.select("k").head(6).to_torch(), DataError, ["no nulls", "k"]),
    "partition_by": (lambda: TABLE.select("k").write_csv("nowhere", partition_by="k"), SpecError, ["no column"]),
    "partition_by_column": (lambda: TABLE.write_csv("nowhere", partition_by="q"), DataError, ["'q'"]),
    "map_batches": (lambda: TABLE.map_batches(lambda part: part.drop("k")).collect(), DataError, ["schema="]),
    "from_numpy": (lambda: rc.from_numpy({"a": np.zeros(2), "b": np.zeros(3)}), DataError, ["from NumPy"]),
    "sample": (lambda: TABLE.sample(3, fraction=0.5), SpecError, ["one of them"]),
    "sample_many": (lambda: TABLE.sample(7).collect(), DataError, ["the table has 6"]),
    "repartition": (lambda: TABLE.repartition([1, 5]), SpecError, ["each of 1 ranks"]),
    "concat": (lambda: rc.concat([TABLE, OTHER]), DataError, ["schema"]),
    "concat_nothing": (lambda: rc.concat([]), SpecError, ["at least one"]),
    "cross_keys": (lambda: TABLE.join(OTHER, on="k", how="cross"), SpecError, ["no keys"]),
    "head": (lambda: TABLE.head(-1), SpecError, ["-1"]),
    "objects": (lambda: rc.from_polars(pl.DataFrame({"o": [object()]})), DataError, ["'o'", "Python objects"]),
    "no_file": (lambda: rc.scan_csv("nowhere/flights.csv"), DataError, ["nowhere/flights.csv"]),
    "no_parquet": (lambda: rc.scan_parquet("nowhere/*.parquet"), DataError, ["nowhere/*.parquet"]),
    "no_files": (lambda: rc.scan_csv([]), DataError, ["at least one"]),
    "asof": (lambda: TABLE.join_asof(OTHER, left_on="k"), SpecError, ["left_on= and right_on="]),
    "engine": (lambda: TABLE.collect(engine="fast"), SpecError, ["'fast'", "gpu, in-memory, streaming"]),
    "root": (lambda: TABLE.gather(3), SpecError, ["root=3"]),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused_with_the_valid_values(name: str) -> None:
    """Nothing has run; the message names what was wrong and what would be right."""
    attempt, kind, parts = REFUSED[name]
    with pytest.raises(kind) as caught:
        attempt()
    for part in parts:
        assert part in str(caught.value)


def _panic(_: pl.Series) -> pl.Series:
    raise pl.exceptions.PanicException("of Polars itself")


def _failures(comm: rc.Communicator, missing: str) -> list[str]:
    def even_number(value: int) -> int:
        if value == 5:
            raise ValueError("five is right out")
        return value

    numbers = pl.DataFrame({"k": [comm.rank * 5, comm.rank * 5], "w": ["1", "two" if comm.rank else "2"]})
    table = rc.from_polars(numbers, comm)
    odd = table.with_columns(pl.col("k").map_elements(even_number, return_dtype=pl.Int64))
    attempts: list[Callable[[], Any]] = [
        lambda: rc.scan_csv(missing, comm),
        odd.collect,
        lambda: odd.group_by("k").agg(pl.len()).collect(),
        lambda: odd.sort("k").gather(),
        lambda: table.sort(pl.col("w").cast(pl.Int64)).collect(),
        lambda: table.group_by(pl.col("w").cast(pl.Int64)).agg(pl.col("k")).collect(),
        lambda: table.with_columns(pl.col("w").cast(pl.Int64).cum_sum()).collect(),
        lambda: rc.from_polars(numbers.rename({"k": "z"}) if comm.rank else numbers, comm),
        lambda: table.write_parquet(f"{__file__}/nowhere"),
        lambda: table.join(rc.from_polars(numbers), on="k"),
        lambda: table.write_parquet(Path(missing).parent),
        lambda: table.sort("k", descending=True).join_asof(table, on="k").collect(),
        lambda: table.join(table, on="k", validate="m:1").collect(),
        lambda: rc.concat([table, table.head(3).select(z="k")], how="horizontal").collect(),
        lambda: table.reverse().upsample("k", every="1i").collect(),
        lambda: table.with_columns(pl.col("k").map_batches(_panic, return_dtype=pl.Int64)).collect(),
    ]
    messages = []
    for attempt in attempts:
        try:
            attempt()
            messages.append("no error")
        except Exception as error:
            messages.append(f"{type(error).__name__}: {error}")
    assert table.gather().height == 2 * comm.size  # the ranks are still in step
    return messages


def test_a_failure_on_one_rank_is_raised_on_all(tmp_path: Path) -> None:
    """The rank that failed raises its own error, the others one that names it; nobody waits."""
    (tmp_path / "old.parquet").write_text("")
    first, second = run_on_ranks(_failures, str(tmp_path / "missing.csv"), size=2)
    assert "no error" not in first + second
    assert "missing.csv" in first[0] and "missing.csv" in second[0]
    for message in first[1:4]:
        assert message.startswith("DataError: rank 1 of 2 failed")
    assert "five is right out" in first[1] and "five is right out" in second[1]
    assert "one communicator" in first[9] and "one communicator" in second[9]
    assert "left table is not sorted" in first[11] and first[11] == second[11]
    assert "holds old.parquet" in first[10] and "holds old.parquet" in second[10]
    assert "several rows with" in first[12] and first[12] == second[12]
    assert "4 of ['k', 'w'], 3 of ['z']" in first[13] and first[13] == second[13]
    assert "is not sorted" in first[14] and first[14] == second[14]
    assert "Polars gave up" in first[15] and "rank 0 of 2 failed" in second[15]
    assert "same columns" in first[7] and first[7] == second[7]


def _on_gpu(comm: rc.Communicator) -> list[str]:
    called: list[int] = []
    table = rc.from_polars(frames()["few"], comm).map_batches(lambda part: called.append(1) or part)
    messages = []
    for method in (table.collect, table.gather, table.persist):
        try:
            method(engine="gpu")
        except (ResourceError, MissingDependencyError) as error:
            messages.append(str(error))
    assert not called
    return messages


def test_stages_are_handed_to_the_gpu_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """To Polars' own, which computes on CPUs what it cannot; other engines by their names."""
    engines: list[Any] = []
    monkeypatch.setattr(pl.LazyFrame, "collect", lambda frame, *, engine: engines.append(engine))
    with computing_with("gpu"):
        compute(pl.LazyFrame())
    compute(pl.LazyFrame())
    assert isinstance(engines[0], pl.GPUEngine) and not engines[0].config.get("raise_on_fail", False)
    assert engines[1:] == ["streaming"]


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="this machine has a GPU")
def test_without_a_gpu_its_engine_is_refused() -> None:
    """On all ranks, before anything runs, with what to do; other engines give the same rows."""
    for messages in run_on_ranks(_on_gpu, size=2):
        assert len(messages) == 3
        assert all("gpus=1" in message or "GPU" in message for message in messages)
    whole = TABLE.sort("k").collect(engine="in-memory")
    assert whole.equals(TABLE.sort("k").collect())


def test_what_a_table_has_not_names_the_nearest() -> None:
    """Every method of Polars' frames is there or refused by what to use instead; a slip of the pen is guessed."""
    table = rc.from_polars(pl.DataFrame({"a": [1]}))
    for name in {*dir(pl.LazyFrame), *dir(pl.DataFrame)}:
        if not name.startswith("_") and not hasattr(rc.Table, name):
            with pytest.raises(AttributeError, match=f"no '{name}'. The nearest: "):
                getattr(table, name)
    with pytest.raises(AttributeError, match="Did you mean 'group_by'"):
        _ = table.groupby
    with pytest.raises(AttributeError, match="gather"):
        _ = table.to_dicts
    assert not hasattr(table, "__array__") and copy.copy(table).collect().height == 1


def test_frame_methods_refuse_what_they_cannot_do() -> None:
    """At once, by what to write instead."""
    table = rc.from_polars(pl.DataFrame({"a": [1], "b": ["x"]}))
    for work, message in (
        (lambda: table.update(table, left_on="a"), "neither"),
        (lambda: table.join_where(table), "cross"),
        (lambda: table.gather_every(0), "n >= 1"),
        (lambda: table.quantile(1.5), "0..1"),
        (lambda: table.quantile(0.5, "middle"), "Did you mean 'midpoint'|Valid interpolations"),  # type: ignore[arg-type]
        (lambda: table.group_by("a", maintain_order=True).map_groups(lambda rows: rows, {}), "sort the result"),
        (lambda: table.group_by(pl.col("a").rank()).tail(1), "row-wise keys"),
        (lambda: table.group_by("a").having(pl.len() > 1).head(1), "use filter"),
    ):
        with pytest.raises(SpecError, match=message):
            work()
    with pytest.raises(DataError, match="explode: there is no column 'c'"):
        table.explode("c")
