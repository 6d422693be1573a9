"""What Polars' frames have and a table has not, and what is nearest to it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import polars as pl

_ALL_ROWS = "gather(), which has all rows as a polars.DataFrame, or collect() for this rank's"
_NEAREST = {
    "collect_async": "collect() in a task of its own: Session.submit returns a future",
    "collect_batches": "persist(), whose parts are read one by one",
    "corr": "select(pl.corr(a, b)) for each two columns",
    "deserialize": "the function that makes the table, submitted as a task",
    "drop_in_place": "drop(name), and select(name) for its values: nothing changes a Table",
    "estimated_size": "explain(), which estimates rows and bytes",
    "execute": "collect()",
    "extend": "deeprc.concat([table, other])",
    "fold": "with_columns(pl.fold(...)), pl.sum_horizontal and its like",
    "from_lazyframe_resolver": "deeprc.from_polars(frame, comm)",
    "get_column": "select(name).gather().to_series()",
    "get_column_index": "columns.index(name)",
    "get_columns": "gather().get_columns()",
    "glimpse": "head(n).gather().glimpse()",
    "hash_rows": "select(pl.struct(pl.all()).hash())",
    "height": "select(pl.len()).gather().item()",
    "hstack": "deeprc.concat([table, other], how='horizontal')",
    "insert_column": "with_columns(...), and select(...) for the order of columns: nothing changes a Table",
    "inspect": "map_batches(function), which is called with each rank's rows",
    "is_duplicated": "select(pl.struct(pl.all()).is_duplicated())",
    "is_empty": "head(1).gather().is_empty()",
    "is_sorted": "select((pl.col(name) >= pl.col(name).shift(1)).all())",
    "is_unique": "select(pl.struct(pl.all()).is_unique())",
    "item": "gather().item()",
    "iter_columns": "gather().iter_columns()",
    "iter_rows": "gather().iter_rows(), or collect() for this rank's rows",
    "iter_slices": "persist(), whose parts are read one by one",
    "map_columns": "with_columns(pl.col(names).map_batches(function))",
    "map_rows": "with_columns(pl.struct(pl.all()).map_elements(function)), or map_batches(function)",
    "max_horizontal": "select(pl.max_horizontal(pl.all()))",
    "mean_horizontal": "select(pl.mean_horizontal(pl.all()))",
    "melt": "unpivot(...)",
    "min_horizontal": "select(pl.min_horizontal(pl.all()))",
    "n_unique": "select(pl.struct(pl.all()).n_unique())",
    "partition_by": "group_by(keys).map_groups(function, schema), or write_parquet(directory, partition_by=keys)",
    "product": "select(pl.all().product())",
    "profile": "explain(); the report of a run shows what each exchange took",
    "rechunk": "nothing: it is not needed",
    "remote": "Session.submit(function, ranks=N)",
    "replace_column": "with_columns(...): nothing changes a Table",
    "row": "slice(n, 1).gather().row(0)",
    "rows": "gather().rows(), or collect() for this rank's rows",
    "serialize": "the function that makes the table, submitted as a task",
    "shape": "select(pl.len()).gather().item() and width",
    "show": "head(n).gather()",
    "show_graph": "explain()",
    "shrink_to_fit": "nothing: it is not needed",
    "sink_batches": "map_batches(function), which is called with each rank's rows",
    "sink_csv": "write_csv(directory)",
    "sink_delta": "write_parquet(directory)",
    "sink_iceberg": "write_parquet(directory)",
    "sink_ipc": "write_ipc(directory)",
    "sink_ndjson": "write_ndjson(directory)",
    "sink_parquet": "write_parquet(directory)",
    "sql": "filter, select, join, group_by and sort, or gather().sql(query) for a table that fits on a rank",
    "sum_horizontal": "select(pl.sum_horizontal(pl.all()))",
    "to_dicts": "gather().to_dicts(), or collect() for this rank's rows",
    "to_dummies": "with_columns((pl.col(name) == value).cast(pl.UInt8).alias(...)) for each value: columns are known "
    "beforehand",
    "to_series": "select(name).gather().to_series()",
    "to_struct": "select(pl.struct(pl.all()))",
    "transpose": "pivot and unpivot, or gather().transpose(): a column for each row is not known beforehand",
    "unstack": "pivot, or gather().unstack(...)",
    "vstack": "deeprc.concat([table, other])",
    "with_context": "join(other, how='cross') for a table of one row",
    "with_row_count": "with_row_index(...)",
    "write_delta": "write_parquet(directory)",
    "write_iceberg": "write_parquet(directory)",
    "write_ipc_stream": "write_ipc(directory)",
    "write_json": "write_ndjson(directory)",
}


def nearest(name: str) -> str:
    """What to use in place of something that only Polars' frames have."""
    return _NEAREST.get(name, _ALL_ROWS)


def refusal(name: str, known: Sequence[str]) -> str:
    """What to say to a user who asks a table for an attribute that it has not."""
    if name in _NEAREST or (hasattr(pl.DataFrame, name) and not name.startswith("_")):
        return f"a Table has no {name!r}. The nearest: {nearest(name)}"
    close = difflib.get_close_matches(name, known, n=1)
    return f"a Table has no {name!r}." + (f" Did you mean {close[0]!r}?" if close else " dir(table) lists what it has")
