"""The run as a page, a summary and a row of the history; made from the journal alone."""

from deeprc.report.comparison import compare
from deeprc.report.description import describe_run, describe_task
from deeprc.report.history import HistoryRow, history_row, history_rows
from deeprc.report.page import write_report
from deeprc.report.summary import summarise

__all__ = [
    "HistoryRow",
    "compare",
    "describe_run",
    "describe_task",
    "history_row",
    "history_rows",
    "summarise",
    "write_report",
]
