"""Row groups of Parquet files that a filter can leave unread: by the least and largest values that the file says.

Ranks share the rows of the row groups that are left, so that a filter by a column that the file is sorted by leaves
each rank as much to read. A group is left out only where a comparison of a column with a value rules out all rows.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from deeprc.communicator import Communicator
from deeprc.table.exchange.exchange import together
from deeprc.table.files.reading import Reader
from deeprc.table.files.row_groups import HARMLESS, OF_FOLDERS
from deeprc.table.optimise.predicates import conjuncts
from deeprc.table.plan.expressions import Tree, from_tree, is_abridged, kind, tree

_MIRRORED = {"Gt": "Lt", "GtEq": "LtEq", "Lt": "Gt", "LtEq": "GtEq", "Eq": "Eq"}


@dataclass(frozen=True)
class Run:
    """Rows of a file that lie next to each other."""

    file: str
    start: int
    rows: int


@dataclass(frozen=True)
class _Comparison:
    column: str
    op: str
    value: Any

    def rules_out(self, least: Any, largest: Any) -> bool:
        """Whether it holds of no value between these."""
        if type(least) is not type(self.value) or type(largest) is not type(self.value):
            return False
        above, below = _IMPOSSIBLE[self.op]
        return bool((above and above(least, self.value)) or (below and below(largest, self.value)))


# Of each comparison: by which relation of the least value to the given one, and of the largest, it can't hold.
_IMPOSSIBLE: Mapping[str, tuple[Callable[[Any, Any], bool] | None, Callable[[Any, Any], bool] | None]] = {
    "Gt": (None, operator.le),
    "GtEq": (None, operator.lt),
    "Lt": (operator.ge, None),
    "LtEq": (operator.gt, None),
    "Eq": (operator.gt, operator.lt),
}


def comparisons(predicates: Sequence[pl.Expr], schema: pl.Schema) -> list[_Comparison]:
    """Those of columns with values among what all rows have to satisfy; other conditions rule out nothing."""
    parts = [tree(part) for predicate in predicates for part in conjuncts(predicate)]
    found = [_comparison(part, schema) for part in parts if not is_abridged(part)]
    return [each for each in found if each is not None]


def _comparison(node: Tree, schema: pl.Schema) -> _Comparison | None:
    if kind(node) != "BinaryExpr" or node["BinaryExpr"]["op"] not in _MIRRORED:
        return None
    left, op, right = (node["BinaryExpr"][part] for part in ("left", "op", "right"))
    if kind(left) == "Literal":
        left, op, right = right, _MIRRORED[op], left
    if kind(left) != "Column" or kind(right) != "Literal" or "Series" in right["Literal"]:
        return None
    value = pl.select(from_tree(right)).item()
    return _Comparison(left["Column"], op, value) if _is_exact(schema.get(left["Column"]), value) else None


def _is_exact(dtype: pl.DataType | None, value: Any) -> bool:
    """Whether files tell the bounds of such a column exactly, in values of this one's type.

    Not so of floats: of NaN, which is larger than all, their bounds say nothing.
    """
    if dtype is None or isinstance(value, bool):
        return False
    return (
        (dtype.is_integer() and isinstance(value, int))
        or (dtype == pl.Date and type(value) is dt.date)
        or (dtype == pl.String and isinstance(value, str))
    )


def runs_that_may_match(
    reader: Reader, files: Sequence[str], found: Sequence[_Comparison], comm: Communicator
) -> list[Run]:
    """The rows to read of all files, in order. Each file is looked at by one rank. Collective."""
    _, everyone = together(
        comm,
        "reading the statistics of row groups",
        lambda: {index: _of_file(reader, files[index], found) for index in range(comm.rank, len(files), comm.size)},
        lambda runs: runs,
    )
    by_file = {index: runs for part in everyone for index, runs in part.items()}
    return [run for index in range(len(files)) for run in by_file[index]]


def _of_file(reader: Reader, file: str, found: Sequence[_Comparison]) -> list[Run]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        metadata = parquet.ParquetFile(reader.opener(file)).metadata
    except (OSError, pa.ArrowException):  # What Polars does not read either it says when it reads.
        return [Run(file, 0, reader.rows(file))]
    runs: list[Run] = []
    start = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if not _is_ruled_out(group, found):
            if runs and runs[-1].start + runs[-1].rows == start:
                runs[-1] = Run(file, runs[-1].start, runs[-1].rows + group.num_rows)
            else:
                runs.append(Run(file, start, group.num_rows))
        start += group.num_rows
    return runs


def _is_ruled_out(group: Any, found: Sequence[_Comparison]) -> bool:
    columns = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
    return any(each.rules_out(*_bounds(columns[each.column])) for each in found if each.column in columns)


def _bounds(column: Any) -> tuple[Any, Any]:
    try:
        known = column.is_stats_set and column.statistics.has_min_max
        return (column.statistics.min, column.statistics.max) if known else (None, None)
    except UnicodeDecodeError:  # Of text that was cut within a letter.
        return None, None


def share_of_runs(runs: Sequence[Run], comm: Communicator) -> list[Run]:
    """This rank's even share of their rows, in order."""
    total = sum(run.rows for run in runs)
    start, end = total * comm.rank // comm.size, total * (comm.rank + 1) // comm.size
    mine, before = [], 0
    for run in runs:
        first, last = max(start - before, 0), min(end - before, run.rows)
        if first < last:
            mine.append(Run(run.file, run.start + first, last - first))
        before += run.rows
    return mine


def load_where(
    reader: Reader, files: Sequence[str], predicates: Sequence[pl.Expr], schema: pl.Schema
) -> Callable[[Communicator], pl.LazyFrame] | None:
    """How to load this rank's share of rows that may satisfy all predicates; None where no statistics can tell."""
    plain = not any("://" in file or "=" in file for file in files)
    found = comparisons(predicates, schema)
    if (
        reader.scan is not pl.scan_parquet
        or not plain
        or not reader.options.keys() <= HARMLESS | OF_FOLDERS
        or not found
    ):
        return None

    def load(comm: Communicator) -> pl.LazyFrame:
        mine = share_of_runs(runs_that_may_match(reader, files, found, comm), comm)
        if not mine:
            return reader.frame(files[:1]).head(0)
        return pl.concat([reader.frame([run.file]).slice(run.start, run.rows) for run in mine])

    return load
