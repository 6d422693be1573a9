"""Text tables of fixed columns, read so that a bad value is refused by file and row."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from deeprc.errors import DataError

ROW = "row"
"""The column that holds each value's line in its file (1 is the first), until the reader drops it."""


def read_fields(
    path: Path,
    columns: Sequence[str],
    *,
    separator: str | None = None,
    header_rows: int = 0,
    encoding: str = "utf-8-sig",
) -> pl.DataFrame:
    """Split the lines after `header_rows` into text columns, with their line number in `row`.

    `separator` None means any run of blanks. Blank lines are skipped.

    Raises:
        DataError: no such file, no row in it, or a line with another number of fields (file and row named).
    """
    lines = read_text_lines(path, encoding)[header_rows:]
    fields = pl.col("lines").str.extract_all(r"\S+") if separator is None else pl.col("lines").str.split(separator)
    frame = (
        pl.DataFrame({"lines": lines}, schema={"lines": pl.String})
        .with_row_index(ROW, offset=header_rows + 1)
        .filter(pl.col("lines").str.strip_chars() != "")
        .with_columns(fields.alias("fields"))
    )
    if frame.is_empty():
        raise DataError(f"{path}: holds no rows after its {header_rows} header lines")
    refuse_rows(
        path,
        frame,
        pl.col("fields").list.len() != len(columns),
        f"does not have the {len(columns)} fields {', '.join(columns)}",
        "lines",
    )
    return frame.select(
        ROW, *(pl.col("fields").list.get(i).str.strip_chars().alias(name) for i, name in enumerate(columns))
    )


def read_text_lines(path: Path, encoding: str = "utf-8-sig") -> list[str]:
    """All lines of a text file, unpacked if its name ends in `.gz`.

    Raises:
        DataError: the file is absent, unreadable, cut short or not text.
    """
    try:
        content = Path(path).read_bytes()
        return (gzip.decompress(content) if Path(path).suffix == ".gz" else content).decode(encoding).splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, LookupError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from error


def to_numbers(path: Path, frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Cast text columns to Float64.

    Raises:
        DataError: a value is not a finite number (file, row and column named).
    """
    numbers = frame.with_columns(pl.col(columns).cast(pl.Float64, strict=False))
    for column in columns:
        bad = numbers[column].is_null() | ~numbers[column].is_finite()
        refuse_rows(path, frame, bad, f"{column} is not a number", column)
    return numbers


def to_dates(path: Path, frame: pl.DataFrame, date: pl.Expr, shown: str) -> pl.DataFrame:
    """Put `date` in a Date column of that name; `shown` is the text column to quote when it is not one.

    Raises:
        DataError: a day that is not in the calendar, or that the file holds twice (file and row named).
    """
    dates = frame.select(date.alias("date")).to_series()
    refuse_rows(path, frame, dates.is_null(), "is not a date", shown)
    refuse_rows(path, frame, ~dates.is_first_distinct(), "repeats a day", shown)
    return frame.with_columns(dates)


def refuse_rows(path: Path, frame: pl.DataFrame, bad: pl.Expr | pl.Series, what: str, shown: str) -> None:
    """Raise for the first row where `bad` holds, quoting its `shown` value and counting the others."""
    rows = frame.filter(bad)
    if rows.is_empty():
        return
    others = f" ({rows.height - 1} more such rows)" if rows.height > 1 else ""
    raise DataError(f"{path}, row {rows[ROW][0]}: {what}: {str(rows[shown][0])!r}{others}. Correct the file.")


def calendar_date(names: Mapping[str, str]) -> pl.Expr:
    """A date from three numeric columns, null where the calendar has no such day."""
    text = pl.format("{}-{}-{}", *(pl.col(names[part]).cast(pl.Int32) for part in ("year", "month", "day")))
    return text.str.to_date("%Y-%m-%d", strict=False)
