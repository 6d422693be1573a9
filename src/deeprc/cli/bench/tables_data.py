"""The tables of `deeprc bench tables`: Cylon's two, and those of the db-benchmark.

Sources: N. Perera and others, Supercharging distributed computing environments for high-performance data
engineering (2023): two columns of int64, keys uniform in 0 .. 0.9 n. The db-benchmark
(https://github.com/duckdblabs/db-benchmark): `_data/groupby-datagen.R` with K = 100, and `_data/join-datagen.R`,
both without missing values. Texts stay texts for every engine: none gets categories made beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

_SEED = 20_230_719
_K = 100


def write_tables(benchmark: str, rows: int, folder: Path) -> Mapping[str, str]:
    """Write the tables of a benchmark ("cylon", "db-groups" or "db-joins") as Arrow IPC files, if they are not there.

    Returns:
        the path of each table by its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{benchmark}-{rows}-{name}.arrow" for name in _NAMES[benchmark]}
    if not all(file.exists() for file in files.values()):
        for name, frame in _MAKERS[benchmark](rows, np.random.default_rng([_SEED, rows])).items():
            part = files[name].with_suffix(".part")
            # Texts as Arrow has had them for long: not every engine reads the newer layout.
            frame.write_ipc(part, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
            part.rename(files[name])
    return {name: str(file) for name, file in files.items()}


def _cylon(rows: int, random: np.random.Generator) -> dict[str, pl.DataFrame]:
    def table() -> pl.DataFrame:
        return pl.DataFrame({name: random.integers(0, max(1, rows * 9 // 10), rows) for name in ("key", "value")})

    return {"left": table(), "right": table()}


def _group_by_table(rows: int, random: np.random.Generator) -> dict[str, pl.DataFrame]:
    groups = max(1, rows // _K)

    def ids(count: int) -> Any:
        return random.integers(1, count + 1, rows)

    columns = {
        "id1": _labels(ids(_K), 3),
        "id2": _labels(ids(_K), 3),
        "id3": _labels(ids(groups), 10),
        "id4": ids(_K),
        "id5": ids(_K),
        "id6": ids(groups),
        "v1": ids(5),
        "v2": ids(15),
        "v3": np.round(random.random(rows) * 100, 6),
    }
    return {"g": pl.DataFrame(columns)}


def _join_tables(rows: int, random: np.random.Generator) -> dict[str, pl.DataFrame]:
    """Nine tenths of each side's keys are common to both, one tenth is its own."""
    counts = {"small": max(10, rows // 1_000_000), "medium": max(10, rows // 1000), "big": rows}
    left, right = {}, {}
    for number, count in enumerate(counts.values(), start=1):
        keys = random.permutation(count * 11 // 10) + 1
        common = count * 9 // 10
        left[number] = keys[:count]
        right[number] = np.concatenate([keys[:common], keys[count:]])

    def table(height: int, keys: Mapping[int, Any], value: str) -> pl.DataFrame:
        drawn = {number: _each_once(values, height, random) for number, values in keys.items()}
        columns: dict[str, Any] = {f"id{number}": values for number, values in drawn.items()}
        columns |= {f"id{number + 3}": _labels(values, 0) for number, values in drawn.items()}
        return pl.DataFrame({**columns, value: np.round(random.random(height) * 100, 6)})

    return {
        "x": table(rows, left, "v1"),
        **{
            name: table(count, {number: right[number] for number in range(1, last + 1)}, "v2")
            for last, (name, count) in enumerate(counts.items(), start=1)
        },
    }


def _each_once(keys: Any, height: int, random: np.random.Generator) -> Any:
    """`height` keys, each of them at least once where there is room, in random order."""
    if height <= len(keys):
        return random.permutation(keys)[:height]
    return random.permutation(np.concatenate([keys, random.choice(keys, height - len(keys))]))


def _labels(numbers: Any, digits: int) -> pl.Series:
    """ "id" and the number, with leading zeros to so many digits."""
    texts = pl.select(
        pl.lit("id") + pl.int_range(0, int(numbers.max()) + 1, dtype=pl.Int64).cast(pl.String).str.zfill(digits)
    ).to_series()
    return texts.gather(numbers)


_NAMES = {"cylon": ("left", "right"), "db-groups": ("g",), "db-joins": ("x", "small", "medium", "big")}
_MAKERS = {"cylon": _cylon, "db-groups": _group_by_table, "db-joins": _join_tables}
