"""Bodo: its DataFrame library (no compilation), tables in the memory of one MPI worker a core.

The number of workers is in the environment (`BODO_NUM_WORKERS`). The largest two of each group (g8) is not asked:
Bodo hands it to pandas on one core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import bodo.pandas as bd
import pandas as pd


def load(files: Mapping[str, str], cores: int) -> dict[str, Any]:
    """Tables spread over the workers."""
    return {name: bd.from_pandas(pd.read_feather(file)) for name, file in files.items()}


def _kept(frame: Any) -> Any:
    frame.execute_plan()
    return frame


def _grouped(keys: list[str], **aggregates: tuple[str, str]) -> Callable[[dict[str, Any]], Any]:
    def question(tables: dict[str, Any]) -> Any:
        table = tables["g"] if "g" in tables else tables["left"]
        used = [*keys, *dict.fromkeys(column for column, _ in aggregates.values())]
        named = {name: pd.NamedAgg(column, how) for name, (column, how) in aggregates.items()}
        return table[used].groupby(keys, as_index=False).agg(**named)

    return question


def _range(tables: dict[str, Any]) -> Any:
    both = _grouped(["id3"], high=("v1", "max"), low=("v2", "min"))(tables)
    both["range"] = both["high"] - both["low"]
    return both[["id3", "range"]]


def _r2(tables: dict[str, Any]) -> Any:
    """From sums: a function for each group would be far slower."""
    rows = tables["g"][["id2", "id4", "v1", "v2"]]
    rows["v11"], rows["v22"], rows["v12"] = rows.v1 * rows.v1, rows.v2 * rows.v2, rows.v1 * rows.v2
    sums = {name: (name, "sum") for name in ("v1", "v2", "v11", "v22", "v12")}
    s = rows.groupby(["id2", "id4"], as_index=False).agg(
        **{name: pd.NamedAgg(*pair) for name, pair in sums.items()}, n=pd.NamedAgg("v1", "count")
    )
    above = s.n * s.v12 - s.v1 * s.v2
    below = (s.n * s.v11 - s.v1 * s.v1) * (s.n * s.v22 - s.v2 * s.v2)
    s["r2"] = above * above / below
    return s[["id2", "id4", "r2"]]


_ALL = [f"id{number}" for number in range(1, 7)]
_RIGHT = {"suffixes": ("", "_right")}
_PLANS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "join": lambda t: t["left"].merge(t["right"], on="key", **_RIGHT),
    "sort": lambda t: t["left"].sort_values("key"),
    "group_by": _grouped(["key"], value=("value", "sum")),
    "g1": _grouped(["id1"], v1=("v1", "sum")),
    "g2": _grouped(["id1", "id2"], v1=("v1", "sum")),
    "g3": _grouped(["id3"], v1=("v1", "sum"), v3=("v3", "mean")),
    "g4": _grouped(["id4"], v1=("v1", "mean"), v2=("v2", "mean"), v3=("v3", "mean")),
    "g5": _grouped(["id6"], v1=("v1", "sum"), v2=("v2", "sum"), v3=("v3", "sum")),
    "g6": _grouped(["id4", "id5"], median=("v3", "median"), std=("v3", "std")),
    "g7": _range,
    "g9": _r2,
    "g10": _grouped(_ALL, v3=("v3", "sum"), count=("v3", "count")),
    "j1": lambda t: t["x"].merge(t["small"], on="id1", **_RIGHT),
    "j2": lambda t: t["x"].merge(t["medium"], on="id2", **_RIGHT),
    "j3": lambda t: t["x"].merge(t["medium"], on="id2", how="left", **_RIGHT),
    "j4": lambda t: t["x"].merge(t["medium"], on="id5", **_RIGHT),
    "j5": lambda t: t["x"].merge(t["big"], on="id3", **_RIGHT),
}


def _asked(plan: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda tables: _kept(plan(tables))


QUESTIONS = {name: _asked(plan) for name, plan in _PLANS.items()}


def describe(frame: Any) -> tuple[int, dict[str, float]]:
    """The number of rows, and the sum of each column of numbers."""
    numbers = [name for name, dtype in frame.dtypes.items() if pd.api.types.is_numeric_dtype(dtype)]
    return len(frame), {name: float(frame[name].sum()) for name in numbers}
