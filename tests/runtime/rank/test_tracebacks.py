"""What of a traceback its reader needs: the lines of the task's function, and not those of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import deeprc as rc
from deeprc.errors import DataError, ResourceError, TaskFailedError
from deeprc.runtime.rank.tracebacks import users_traceback


def absent_column() -> Any:
    return rc.from_polars(pl.DataFrame({"a": [1]})).filter(pl.col("b") > 1).collect()


def wrong_value() -> Any:
    return rc.from_polars(pl.DataFrame({"a": ["x"]})).with_columns(pl.col("a").cast(pl.Int64)).collect()


def polars_alone() -> Any:
    return pl.DataFrame({"a": [1]}).drop("b")


def own_error() -> Any:
    try:
        return {}["x"]
    except KeyError as error:
        raise DataError("no x") from error


def bug_in_a_library() -> Any:
    return Path("a\0b").stat()


def raised_by(function: Any) -> str:
    try:
        function()
    except Exception as error:
        return users_traceback(error)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("function", [absent_column, wrong_value, polars_alone])
def test_a_refused_call_is_shown_by_the_caller_s_line(function: Any) -> None:
    """Of an error of Deep RC or Polars the last line shown is the user's; how they found out is left out."""
    shown = raised_by(function)
    assert f"in {function.__name__}\n" in shown
    assert "src/deeprc" not in shown and "site-packages" not in shown
    assert shown.count("Traceback") == 1


def test_errors_of_the_user_s_own_are_shown_whole() -> None:
    """With what caused them, and with the lines of other libraries."""
    shown = raised_by(own_error)
    assert "KeyError: 'x'" in shown and shown.rstrip().endswith("DataError: no x")
    assert "pathlib.py" in raised_by(bug_in_a_library)


def test_an_error_with_no_line_of_the_user_s_is_its_message(lasting: rc.Session) -> None:
    """A function of Deep RC's own refuses its data: the message is told once, with no traceback."""
    from deeprc.workloads import hydrology

    error = lasting.submit(hydrology.read_records, "nowhere.csv", columns={"date": "d", "discharge": "q"}).exception(60)
    assert isinstance(error, TaskFailedError)
    assert error.traceback == ""
    assert str(error).count("nowhere.csv") == 1


def test_what_is_refused_at_submit_points_to_the_call(lasting: rc.Session) -> None:
    """The traceback ends in `submit`, and that of a failed task in `result`."""
    with pytest.raises(ResourceError) as refused:
        lasting.submit(own_error, gpus=99)
    assert [entry.name for entry in refused.traceback] == [
        "test_what_is_refused_at_submit_points_to_the_call",
        "submit",
    ]
    with pytest.raises(TaskFailedError) as failed:
        lasting.submit(own_error).result(60)
    assert [entry.name for entry in failed.traceback][1:] == ["result"]
