"""Polars: its streaming engine, on frames in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

Tables = Mapping[str, pl.LazyFrame]


def load(files: Mapping[str, str], cores: int) -> Tables:
    """Frames in memory. The number of threads is in the environment, for Polars reads it when imported."""
    return {name: rows_of(file, 0, 1).lazy() for name, file in files.items()}


def rows_of(file: str, part: int, parts: int) -> pl.DataFrame:
    """An even share of the file's rows, in memory of its own: not pages of a file that all processes map."""
    rows = pl.scan_ipc(file).select(pl.len()).collect().item()
    start, end = rows * part // parts, rows * (part + 1) // parts
    positions = pl.int_range(end - start, dtype=pl.get_index_type())
    return pl.scan_ipc(file).slice(start, end - start).select(pl.all().gather(positions)).collect().rechunk()


# Frames of Polars and of Deep RC have the same methods: both are asked by these.
PLANS: dict[str, Callable[[Any], Any]] = {
    "join": lambda t: t["left"].join(t["right"], on="key"),
    "sort": lambda t: t["left"].sort("key"),
    "group_by": lambda t: t["left"].group_by("key").agg(pl.col("value").sum()),
    "g1": lambda t: t["g"].group_by("id1").agg(pl.col("v1").sum()),
    "g2": lambda t: t["g"].group_by("id1", "id2").agg(pl.col("v1").sum()),
    "g3": lambda t: t["g"].group_by("id3").agg(pl.col("v1").sum(), pl.col("v3").mean()),
    "g4": lambda t: t["g"].group_by("id4").agg(pl.col("v1", "v2", "v3").mean()),
    "g5": lambda t: t["g"].group_by("id6").agg(pl.col("v1", "v2", "v3").sum()),
    "g6": lambda t: (
        t["g"].group_by("id4", "id5").agg(pl.col("v3").median().alias("median"), pl.col("v3").std().alias("std"))
    ),
    "g7": lambda t: t["g"].group_by("id3").agg((pl.col("v1").max() - pl.col("v2").min()).alias("range")),
    "g8": lambda t: t["g"].group_by("id6").agg(pl.col("v3").top_k(2)),
    "g9": lambda t: t["g"].group_by("id2", "id4").agg((pl.corr("v1", "v2") ** 2).alias("r2")),
    "g10": lambda t: (
        t["g"].group_by("id1", "id2", "id3", "id4", "id5", "id6").agg(pl.col("v3").sum(), pl.len().alias("count"))
    ),
    "j1": lambda t: t["x"].join(t["small"], on="id1"),
    "j2": lambda t: t["x"].join(t["medium"], on="id2"),
    "j3": lambda t: t["x"].join(t["medium"], on="id2", how="left"),
    "j4": lambda t: t["x"].join(t["medium"], on="id5"),
    "j5": lambda t: t["x"].join(t["big"], on="id3"),
}


def _asked(plan: Callable[[Any], Any]) -> Callable[[Tables], pl.DataFrame]:
    return lambda tables: plan(tables).collect(engine="streaming")


QUESTIONS = {name: _asked(plan) for name, plan in PLANS.items()}


def describe(frame: pl.DataFrame) -> tuple[int, dict[str, float]]:
    """The number of rows, lists taken apart, and the sum of each column of numbers."""
    for name in frame.select(pl.selectors.list()).columns:
        frame = frame.explode(name)
    numbers = frame.select(pl.selectors.numeric())
    return frame.height, {name: float(numbers[name].sum()) for name in numbers.columns}
