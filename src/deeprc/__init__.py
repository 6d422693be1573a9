"""Deep RC: from raw tables to trained, evaluated, reported models, as the tasks of one run on one allocation.

Names are loaded when first used: `import deeprc` brings neither torch nor tensorflow nor mpi4py.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeprc.bridge import Dataset as Dataset
    from deeprc.communicator import Communicator as Communicator
    from deeprc.errors import DeepRCError as DeepRCError
    from deeprc.errors import TaskStoppedError as TaskStoppedError
    from deeprc.journal import ForecastPlot as ForecastPlot
    from deeprc.journal import Hydrograph as Hydrograph
    from deeprc.journal import MetricTable as MetricTable
    from deeprc.journal import progress as progress
    from deeprc.journal import record_artifact as record_artifact
    from deeprc.runtime import Future as Future
    from deeprc.runtime import Session as Session
    from deeprc.spec import Pipeline as Pipeline
    from deeprc.spec import load_pipeline as load_pipeline
    from deeprc.table import Table as Table
    from deeprc.table import concat as concat
    from deeprc.table import from_arrow as from_arrow
    from deeprc.table import from_numpy as from_numpy
    from deeprc.table import from_pandas as from_pandas
    from deeprc.table import from_polars as from_polars
    from deeprc.table import from_torch as from_torch
    from deeprc.table import scan_csv as scan_csv
    from deeprc.table import scan_dataset as scan_dataset
    from deeprc.table import scan_ipc as scan_ipc
    from deeprc.table import scan_ndjson as scan_ndjson
    from deeprc.table import scan_parquet as scan_parquet
    from deeprc.workspace import checkpoint_dir as checkpoint_dir
    from deeprc.workspace import stopping as stopping

__version__ = "0.1.0"

_HOMES = {
    "Communicator": "deeprc.communicator",
    "Dataset": "deeprc.bridge",
    "DeepRCError": "deeprc.errors",
    "ForecastPlot": "deeprc.journal",
    "Future": "deeprc.runtime",
    "Hydrograph": "deeprc.journal",
    "MetricTable": "deeprc.journal",
    "Pipeline": "deeprc.spec",
    "Session": "deeprc.runtime",
    "Table": "deeprc.table",
    "TaskStoppedError": "deeprc.errors",
    "checkpoint_dir": "deeprc.workspace",
    "concat": "deeprc.table",
    "from_arrow": "deeprc.table",
    "from_numpy": "deeprc.table",
    "from_pandas": "deeprc.table",
    "from_polars": "deeprc.table",
    "from_torch": "deeprc.table",
    "load_pipeline": "deeprc.spec",
    "progress": "deeprc.journal",
    "record_artifact": "deeprc.journal",
    "scan_csv": "deeprc.table",
    "scan_dataset": "deeprc.table",
    "scan_ipc": "deeprc.table",
    "scan_ndjson": "deeprc.table",
    "scan_parquet": "deeprc.table",
    "stopping": "deeprc.workspace",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deeprc' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
