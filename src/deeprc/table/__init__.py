"""The distributed lazy table: Polars' expressions and semantics over the ranks of a task."""

from deeprc.table.frames import from_arrow, from_numpy, from_pandas, from_polars, from_torch
from deeprc.table.methods.groups import GroupBy, Windows
from deeprc.table.sources import scan_csv, scan_dataset, scan_ipc, scan_ndjson, scan_parquet
from deeprc.table.table import Table, concat

__all__ = [
    "GroupBy",
    "Table",
    "Windows",
    "concat",
    "from_arrow",
    "from_numpy",
    "from_pandas",
    "from_polars",
    "from_torch",
    "scan_csv",
    "scan_dataset",
    "scan_ipc",
    "scan_ndjson",
    "scan_parquet",
]
