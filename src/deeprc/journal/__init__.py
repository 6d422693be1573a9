"""The run's append-only record: events, inputs, environment, artifacts; writer and readers."""

from deeprc.journal.artifacts import ForecastPlot, Hydrograph, MetricTable, record_artifact
from deeprc.journal.directories import new_run_directory, runs_root
from deeprc.journal.reader import EventTail, RunRecord, list_runs, read_run
from deeprc.journal.recorder import progress, record, set_sink
from deeprc.journal.removal import remove_run, run_bytes
from deeprc.journal.writer import JournalWriter, write_json, write_text

__all__ = [
    "EventTail",
    "ForecastPlot",
    "Hydrograph",
    "JournalWriter",
    "MetricTable",
    "RunRecord",
    "list_runs",
    "new_run_directory",
    "progress",
    "read_run",
    "record",
    "record_artifact",
    "remove_run",
    "run_bytes",
    "runs_root",
    "set_sink",
    "write_json",
    "write_text",
]
