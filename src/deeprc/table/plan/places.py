"""Columns of the places of rows, and of rows at some places: by the numbers of rows, as a table's operators.

| expression | as |
|---|---|
| `arg_true`, `pl.arg_where` | the numbers of rows that a filter keeps |
| `arg_unique` | the numbers of the first rows of equal values |
| `arg_sort` | the numbers of rows, sorted by their values |
| `gather_every` | a filter by the numbers |
| `rle` | groups of the rows of a run |
"""

from __future__ import annotations

from typing import Any

import polars as pl

from deeprc.table.plan.nodes import Filter, GroupBy, Node, Select, Sort, Unique, WithColumns
from deeprc.table.plan.row_nodes import RowIndex

_PLACE, _RUN, _LEN, _VALUE = "__place__", "__run__", "__len__", "__value__"


def true_places(below: Node, column: str) -> Node:
    return _places(Filter(_numbered(below), (pl.col(column),)), column)


def first_places(below: Node, column: str) -> Node:
    return _places(Unique(_numbered(below), (column,), "first", maintain_order=True), column)


def sorted_places(below: Node, column: str, options: Any) -> Node:
    """Equal values in their order, as Polars has them."""
    flags = (options["descending"],), (options["nulls_last"],)
    return _places(Sort(_numbered(below), (pl.col(column),), *flags, maintain_order=True), column)


def every_place(below: Node, column: str, options: Any) -> Node:
    place, n, offset = pl.col(_PLACE).cast(pl.Int64), options["n"], options["offset"]
    kept = Filter(_numbered(below), (place >= offset, (place - offset) % n == 0))
    return Select(kept, (pl.col(column),))


def run_starts(below: Node, column: str) -> WithColumns:
    """The rows with the number of their run; to be taken apart, and then given to `runs`."""
    return WithColumns(below, (pl.col(column).rle_id().alias(_RUN),))


def runs(numbered: Node, column: str) -> Node:
    """How long each run is, and its value."""
    aggs = (pl.len().cast(pl.get_index_type()).alias(_LEN), pl.col(column).first().alias(_VALUE))
    groups = GroupBy(numbered, (pl.col(_RUN),), aggs, maintain_order=True)
    both = pl.struct(pl.col(_LEN).alias("len"), pl.col(_VALUE).alias("value"))
    return Select(groups, (both.alias(column),))


def _numbered(below: Node) -> Node:
    return RowIndex(below, _PLACE, 0)


def _places(rows: Node, column: str) -> Node:
    return Select(rows, (pl.col(_PLACE).alias(column),))
