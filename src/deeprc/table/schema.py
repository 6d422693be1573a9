"""Columns and types at plan time: Polars' complaints as errors that say what would have been valid."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import polars as pl

from deeprc.errors import DataError, valid_values


def checked(schema: pl.Schema) -> pl.Schema:
    """The schema, if all its types can leave the process.

    Raises:
        DataError: a column holds Python objects.
    """
    for name, dtype in schema.items():
        if "Object" in str(dtype):
            raise DataError(
                f"column {name!r} holds Python objects ({dtype}), which cannot be sent to another rank: "
                "cast it to a Polars type or drop it"
            )
    return schema


@contextmanager
def as_data_error(doing: str, columns: Sequence[str] = ()) -> Iterator[None]:
    """Turn what Polars raises into a DataError that begins with `doing` and names the valid columns."""
    try:
        yield
    except pl.exceptions.ColumnNotFoundError as error:
        missing = _quoted(error)
        raise DataError(
            f"{doing}: there is no column {missing!r}. {valid_values(missing, columns, noun='column')}"
        ) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{doing}: {_first_paragraph(error)}") from None


def _quoted(error: Exception) -> str:
    found = re.search(r"[\"'`]([^\"'`]*)[\"'`]", str(error))
    return found.group(1) if found else _first_paragraph(error)


def _first_paragraph(error: Exception) -> str:
    """What went wrong, without the resolved plan that Polars prints after it."""
    return str(error).split("\n\nResolved plan")[0].strip()
