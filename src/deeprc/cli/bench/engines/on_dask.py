"""Dask: DataFrames in the memory of one worker process a core, computed and kept there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dask.dataframe as dd
import pandas as pd
from distributed import Client, LocalCluster, wait

_PARTITIONS_PER_CORE = 4
_clients: list[Any] = []


def load(files: Mapping[str, str], cores: int) -> dict[str, Any]:
    """Tables spread over the workers, which are started with the first."""
    if not _clients:
        cluster = LocalCluster(
            n_workers=cores,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=None,
            local_directory=os.environ.get("TMPDIR", "/tmp"),
        )
        _clients.append(Client(cluster))
    tables = {}
    for name, file in files.items():
        frame = pd.read_feather(file)
        partitions = cores * _PARTITIONS_PER_CORE if len(frame) > 100_000 else 1
        tables[name] = _kept(dd.from_pandas(frame, npartitions=partitions, sort=False))
    return tables


def stop() -> None:
    """End the workers."""
    for client in _clients:
        client.cluster.close()
        client.close()


def _kept(frame: Any) -> Any:
    kept = frame.persist()
    wait(kept)
    return kept


def _groups(keys: list[str], **aggregates: tuple[str, str]) -> Callable[[dict[str, Any]], Any]:
    """Grouped by shuffling where there are many groups: one partition of results would hold them all."""
    many = bool({"id3", "id6", "key"} & set(keys))

    def question(tables: dict[str, Any]) -> Any:
        table = tables["g"] if "g" in tables else tables["left"]
        used = [*keys, *dict.fromkeys(column for column, _ in aggregates.values())]
        grouped = table[used].groupby(keys, dropna=False, observed=True)
        return grouped.agg(
            {
                column: [how for other, how in aggregates.values() if other == column]
                for column, _ in aggregates.values()
            },
            **({"split_out": table.npartitions} if many and table.npartitions > 1 else {}),
        )

    return question


def _by_column(aggregates: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column, how in aggregates:
        found.setdefault(column, []).append(how)
    return found


def _largest_two(tables: dict[str, Any]) -> Any:
    rows = tables["g"][["id6", "v3"]]
    shuffled = rows.shuffle(on="id6") if rows.npartitions > 1 else rows
    return shuffled.map_partitions(
        lambda part: part.sort_values("v3", ascending=False).groupby("id6").head(2), meta=rows._meta
    )


def _r2(tables: dict[str, Any]) -> Any:
    """From sums, which combine over partitions; a function for each group would be far slower."""
    rows = tables["g"][["id2", "id4", "v1", "v2"]].astype({"v1": "float64", "v2": "float64"})
    rows = rows.assign(v11=rows.v1 * rows.v1, v22=rows.v2 * rows.v2, v12=rows.v1 * rows.v2, n=1.0)
    s = rows.groupby(["id2", "id4"]).sum()
    above = (s.n * s.v12 - s.v1 * s.v2) ** 2
    below = (s.n * s.v11 - s.v1**2) * (s.n * s.v22 - s.v2**2)
    return s.assign(r2=above / below)[["r2"]].reset_index()


def _median_and_std(tables: dict[str, Any]) -> Any:
    rows = tables["g"][["id4", "id5", "v3"]]
    shuffled = rows.shuffle(on=["id4", "id5"]) if rows.npartitions > 1 else rows

    def both(part: Any) -> Any:
        return part.groupby(["id4", "id5"])["v3"].agg(median="median", std="std").reset_index()

    return shuffled.map_partitions(both, meta=both(rows._meta))


def _range(tables: dict[str, Any]) -> Any:
    grouped = tables["g"][["id3", "v1", "v2"]].groupby("id3")
    split = {"split_out": tables["g"].npartitions} if tables["g"].npartitions > 1 else {}
    both = grouped.agg({"v1": "max", "v2": "min"}, **split)
    return both.assign(range=both.v1 - both.v2)[["range"]].reset_index()


_ALL = ["id1", "id2", "id3", "id4", "id5", "id6"]
_PLANS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "join": lambda t: t["left"].merge(t["right"], on="key", suffixes=("", "_right")),
    "sort": lambda t: t["left"].sort_values("key"),
    "group_by": _groups(["key"], value=("value", "sum")),
    "g1": _groups(["id1"], v1=("v1", "sum")),
    "g2": _groups(["id1", "id2"], v1=("v1", "sum")),
    "g3": _groups(["id3"], v1=("v1", "sum"), v3=("v3", "mean")),
    "g4": _groups(["id4"], v1=("v1", "mean"), v2=("v2", "mean"), v3=("v3", "mean")),
    "g5": _groups(["id6"], v1=("v1", "sum"), v2=("v2", "sum"), v3=("v3", "sum")),
    "g6": _median_and_std,
    "g7": _range,
    "g8": _largest_two,
    "g9": _r2,
    "g10": _groups(_ALL, v3=("v3", "sum"), count=("v3", "count")),
    "j1": lambda t: t["x"].merge(t["small"], on="id1", suffixes=("", "_right")),
    "j2": lambda t: t["x"].merge(t["medium"], on="id2", suffixes=("", "_right")),
    "j3": lambda t: t["x"].merge(t["medium"], on="id2", how="left", suffixes=("", "_right")),
    "j4": lambda t: t["x"].merge(t["medium"], on="id5", suffixes=("", "_right")),
    "j5": lambda t: t["x"].merge(t["big"], on="id3", suffixes=("", "_right")),
}


def _asked(plan: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda tables: _kept(plan(tables))


QUESTIONS = {name: _asked(plan) for name, plan in _PLANS.items()}


def describe(frame: Any) -> tuple[int, dict[str, float]]:
    """The number of rows, and the sum of each column of numbers."""

    def of_part(part: Any) -> Any:
        part = part.reset_index() if part.index.names != [None] else part
        part.columns = [_name(column) for column in part.columns]
        numbers = part.select_dtypes("number")
        return pd.DataFrame([{"__rows__": float(len(part)), **numbers.astype("float64").sum().to_dict()}])

    parts = pd.concat([of_part(part.compute()) for part in frame.partitions])
    sums = {str(name): float(value) for name, value in parts.sum().items()}
    return int(sums.pop("__rows__")), sums


def _name(column: Any) -> str:
    """Aggregates have names of two parts; of a column that is aggregated twice the second counts."""
    if not isinstance(column, tuple):
        return str(column)
    return "count" if column[1] == "count" else str(column[0])
