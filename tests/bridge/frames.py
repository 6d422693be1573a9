"""Frames of every type that a dataset can hold, and where memory lies."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

DAY = dt.date(2020, 2, 29)
MOMENT = dt.datetime(2020, 2, 29, 12, 30, 1)

INTEGERS = [
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128),
    *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128),
]
COLUMNS: dict[str, pl.Series] = {
    series.name: series
    for series in [
        *(pl.Series(str(dtype), [1, None, 3], dtype=dtype) for dtype in INTEGERS),
        *(
            pl.Series(str(dtype), [1.5, None, float("nan")], dtype=dtype)
            for dtype in [pl.Float16, pl.Float32, pl.Float64]
        ),
        pl.Series("Boolean", [True, None, False]),
        pl.Series("String", ["ä", None, "a string longer than a view holds inline"]),
        pl.Series("Binary", [b"\x00", None, b"bytes longer than a view holds inline"]),
        pl.Series("Categorical", ["b", None, "a"], dtype=pl.Categorical),
        pl.Series("Categories", ["b", None, "a"], dtype=pl.Categorical(pl.Categories("airports", "deeprc"))),
        pl.Series("Enum", ["y", None, "x"], dtype=pl.Enum(["x", "y", "z"])),
        pl.Series("LargeEnum", ["299", None, "0"], dtype=pl.Enum([str(number) for number in range(300)])),
        pl.Series("Date", [DAY, None, DAY]),
        *(
            pl.Series(f"Datetime {unit}", [MOMENT, None, MOMENT], dtype=pl.Datetime(unit))
            for unit in ("ms", "us", "ns")
        ),
        pl.Series("Zoned", [MOMENT, None, MOMENT], dtype=pl.Datetime("us", "Europe/Berlin")),
        *(
            pl.Series(f"Duration {unit}", [dt.timedelta(1), None, dt.timedelta(2)], dtype=pl.Duration(unit))
            for unit in ("ms", "us", "ns")
        ),
        pl.Series("Time", [dt.time(1, 2, 3), None, dt.time(4)]),
        pl.Series("Decimal", [Decimal("1.23"), None, Decimal("-3.00")], dtype=pl.Decimal(20, 2)),
        pl.Series("List", [[1, 2], None, []]),
        pl.Series("Array", [[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int32, 2)),
        pl.Series("Struct", [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
        pl.Series("Nested", [["b"], None, ["a"]], dtype=pl.List(pl.Categorical)),
        pl.Series("Null", [None, None, None]),
    ]
}


def lies_in(address: int, path: str | Path) -> bool:
    """Whether an address is in a mapping of a file, as the kernel tells."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(bound, 16) for bound in line.split()[0].split("-"))
        if start <= address < end:
            return line.endswith(str(path))
    return False


def numbers(rows: int = 1000, **more: Any) -> pl.DataFrame:
    return pl.DataFrame({"count": np.arange(rows), "level": np.linspace(0.0, 1.0, rows), **more})
