"""Daft: its native runner, on tables in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")

import daft
import pyarrow as pa
import pyarrow.compute as pc
from daft import Window, col
from daft.functions import row_number


def load(files: Mapping[str, str], cores: int) -> dict[str, Any]:
    """Frames in memory, in pieces, so that all cores, whose number Daft finds itself, have something to do."""
    tables = {}
    for name, file in files.items():
        with pa.OSFile(file) as source:
            arrow = pa.ipc.open_file(source).read_all()
        tables[name] = daft.from_arrow(arrow).into_batches(131_072).collect()
    return tables


def _sums(*columns: str) -> list[Any]:
    return [col(column).sum() for column in columns]


def _r2(tables: dict[str, Any]) -> Any:
    """From sums: a correlation is no aggregation of groups here."""
    rows = tables["g"].select("id2", "id4", col("v1").cast("float64"), col("v2").cast("float64"))
    products = {"v11": col("v1") * col("v1"), "v22": col("v2") * col("v2"), "v12": col("v1") * col("v2")}
    sums = _sums("v1", "v2", *products)
    s = rows.with_columns(products).groupby("id2", "id4").agg(*sums, col("v1").count().alias("n"))
    above = col("n") * col("v12") - col("v1") * col("v2")
    below = (col("n") * col("v11") - col("v1") * col("v1")) * (col("n") * col("v22") - col("v2") * col("v2"))
    return s.select(col("id2"), col("id4"), (above * above / below).alias("r2"))


_ALL = [f"id{number}" for number in range(1, 7)]
_PLANS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "join": lambda t: t["left"].join(t["right"], on="key", suffix="_right"),
    "sort": lambda t: t["left"].sort("key"),
    "group_by": lambda t: t["left"].groupby("key").agg(col("value").sum()),
    "g1": lambda t: t["g"].groupby("id1").agg(*_sums("v1")),
    "g2": lambda t: t["g"].groupby("id1", "id2").agg(*_sums("v1")),
    "g3": lambda t: t["g"].groupby("id3").agg(col("v1").sum(), col("v3").mean()),
    "g4": lambda t: t["g"].groupby("id4").agg(*(col(name).mean() for name in ("v1", "v2", "v3"))),
    "g5": lambda t: t["g"].groupby("id6").agg(*_sums("v1", "v2", "v3")),
    "g6": lambda t: (
        t["g"].groupby("id4", "id5").agg(col("v3").median().alias("median"), col("v3").stddev(ddof=1).alias("std"))
    ),
    "g7": lambda t: (
        t["g"]
        .groupby("id3")
        .agg(col("v1").max().alias("high"), col("v2").min().alias("low"))
        .select(col("id3"), (col("high") - col("low")).alias("range"))
    ),
    "g8": lambda t: (
        t["g"]
        .select(col("id6"), col("v3"))
        .with_column("place", row_number().over(Window().partition_by("id6").order_by("v3", desc=True)))
        .where(col("place") <= 2)
        .select(col("id6"), col("v3"))
    ),
    "g9": _r2,
    "g10": lambda t: t["g"].groupby(*_ALL).agg(col("v3").sum(), col("v1").count().alias("count")),
    "j1": lambda t: t["x"].join(t["small"], on="id1", suffix="_right"),
    "j2": lambda t: t["x"].join(t["medium"], on="id2", suffix="_right"),
    "j3": lambda t: t["x"].join(t["medium"], on="id2", how="left", suffix="_right"),
    "j4": lambda t: t["x"].join(t["medium"], on="id5", suffix="_right"),
    "j5": lambda t: t["x"].join(t["big"], on="id3", suffix="_right"),
}


def _asked(plan: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda tables: plan(tables).collect()


QUESTIONS = {name: _asked(plan) for name, plan in _PLANS.items()}


def describe(frame: Any) -> tuple[int, dict[str, float]]:
    """The number of rows, and the sum of each column of numbers."""
    table = frame.to_arrow()
    sums = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            sums[name] = float(pc.sum(column.cast(pa.float64(), safe=False)).as_py() or 0)
    return table.num_rows, sums


def stop() -> None:
    """End at once: Daft's threads, still there when the interpreter goes, would now and then crash it."""
    os._exit(0)
