"""The questions of the db-benchmark (h2oai, duckdblabs) give on ranks what Polars gives in one process.

The data have its columns: three low- and high-cardinality texts, three numbers of each kind, values, and nulls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from tests.ranks import run_on_ranks
from tests.table.compare import Result, assert_same, attempt, broadcasting
from tests.table.data import share

ROWS, GROUPS = 3000, 40
col = pl.col


def _numbers(rows: int, seed: int, most: int) -> pl.Series:
    return pl.int_range(rows, eager=True).hash(seed) % most + 1


def grouped() -> pl.DataFrame:
    """The table of the group-by questions, one value in twenty null."""
    ids = {f"id{i}": _numbers(ROWS, i, most) for i, most in enumerate([GROUPS, GROUPS, ROWS // GROUPS] * 2, start=1)}
    frame = pl.DataFrame({**ids, "v1": _numbers(ROWS, 7, 5), "v2": _numbers(ROWS, 8, 15)}).with_columns(
        pl.format("id{}", col("id1")).alias("id1"),
        pl.format("id{}", col("id2")).alias("id2"),
        pl.format("id{}", col("id3")).alias("id3"),
        (_numbers(ROWS, 9, 100_000_000) / 1_000_000).alias("v3"),
        col("^v[12]$").cast(pl.Int32),
    )
    return frame.with_columns(
        pl.when(_numbers(ROWS, 20 + index, 20) > 1).then(col(name)).alias(name)
        for index, name in enumerate(frame.columns)
    )


def joined() -> dict[str, pl.DataFrame]:
    """The left table and the small, medium and big right ones, whose keys match nine times in ten."""

    def table(rows: int, seed: int, keys: dict[str, int], value: str) -> pl.DataFrame:
        ids = {name: _numbers(rows, seed + index, most) for index, (name, most) in enumerate(keys.items())}
        texts = [pl.format("id{}", col(name)).alias(f"id{int(name[2:]) + 3}") for name in keys]
        frame = pl.DataFrame(ids).with_columns(*texts, (_numbers(rows, seed + 9, 10**6) / 100).alias(value))
        return frame.with_columns(pl.when(col("id1") != 2).then(col("id1")).alias("id1")) if "id1" in frame else frame

    sizes = {"id1": 10, "id2": 100, "id3": 1000}
    small = table(9, 1, {"id1": 11}, "v2").unique("id1", keep="first", maintain_order=True)
    medium = table(95, 2, {"id1": 11, "id2": 105}, "v2").unique("id2", keep="first", maintain_order=True)
    big = table(950, 3, {"id1": 11, "id2": 105, "id3": 1050}, "v2").unique("id3", keep="first", maintain_order=True)
    return {"left": table(1000, 4, sizes, "v1"), "small": small, "medium": medium, "big": big}


GROUP_BY: dict[str, Callable[[Any], Any]] = {
    "q1": lambda t: t.group_by("id1").agg(col("v1").sum()),
    "q2": lambda t: t.group_by("id1", "id2").agg(col("v1").sum()),
    "q3": lambda t: t.group_by("id3").agg(col("v1").sum(), col("v3").mean()),
    "q4": lambda t: t.group_by("id4").agg(col("v1", "v2", "v3").mean()),
    "q5": lambda t: t.group_by("id6").agg(col("v1", "v2", "v3").sum()),
    "q6": lambda t: t.group_by("id4", "id5").agg(col("v3").median().alias("median"), col("v3").std().alias("sd")),
    "q7": lambda t: t.group_by("id3").agg((col("v1").max() - col("v2").min()).alias("range")),
    "q8": lambda t: t.drop_nulls("v3").group_by("id6").agg(col("v3").top_k(2).sort(descending=True)),
    "q9": lambda t: t.group_by("id2", "id4").agg((pl.corr("v1", "v2") ** 2).alias("r2")),
    "q10": lambda t: t.group_by("id1", "id2", "id3", "id4", "id5", "id6").agg(col("v3").sum(), pl.len().alias("count")),
}
JOIN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "q1": lambda t: t["left"].join(t["small"], on="id1"),
    "q2": lambda t: t["left"].join(t["medium"], on="id2"),
    "q3": lambda t: t["left"].join(t["medium"], on="id2", how="left"),
    "q4": lambda t: t["left"].join(t["medium"], on="id5"),
    "q5": lambda t: t["left"].join(t["big"], on="id3"),
}


def _answers(comm: rc.Communicator) -> dict[str, Result]:
    tables = {
        name: rc.from_polars(share(frame, comm.rank, comm.size, "even"), comm) for name, frame in joined().items()
    }
    table = rc.from_polars(share(grouped(), comm.rank, comm.size, "even"), comm)
    answers = {}
    for allowed in (False, True):
        with broadcasting(allowed):
            for name, join in JOIN.items():
                answers[f"join {name} {allowed}"] = attempt(lambda join=join: join(tables).gather())
    for name, question in GROUP_BY.items():
        answers[f"group_by {name}"] = attempt(lambda question=question: question(table).gather())
    return answers


@pytest.mark.parametrize(("backend", "size"), [("solo", 1), ("gloo", 2), ("mpi", 3), ("gloo", 4)])
def test_db_benchmark(backend: str, size: int) -> None:
    """Ten questions of groups, five of joins, by hash and with the right side on all ranks."""
    frames = {name: frame.lazy() for name, frame in joined().items()}
    answers = run_on_ranks(_answers, size=size, backend=backend)[0]
    assert len(answers) == 20
    for name, question in GROUP_BY.items():
        assert_same(answers[f"group_by {name}"], attempt(question(grouped().lazy()).collect), ordered=False)
    for name, join in JOIN.items():
        wanted = attempt(join(frames).collect)
        assert isinstance(wanted[1], pl.DataFrame) and wanted[1].height > 100
        for allowed in (False, True):
            assert_same(answers[f"join {name} {allowed}"], wanted, ordered=False)
