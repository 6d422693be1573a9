"""What Polars' frames have and a table has not, and what is nearest to it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import polars as pl

_NEAREST = {
    "collect_async": "collect() in a task of its own: Session.submit returns a future",
    "collect_batches": "persist(), whose parts are read one by one",
    "deserialize": "the function that makes the table, submitted as a task",
    "execute": "collect()",
    "get_column": "select(name).gather()",
    "glimpse": "head(n).gather()",
    "height": "select(pl.len()).gather().item()",
    "inspect": "map_batches(function), which is called with each rank's rows",
    "is_empty": "head(1).gather().is_empty()",
    "iter_rows": "gather().iter_rows(), or collect() for this rank's rows",
    "melt": "unpivot(...)",
    "profile": "explain(); the report of a run shows what each exchange took",
    "remote": "Session.submit(function, ranks=N)",
    "rows": "gather().rows(), or collect() for this rank's rows",
    "serialize": "the function that makes the table, submitted as a task",
    "shape": "select(pl.len()).gather().item() and width",
    "show": "head(n).gather()",
    "show_graph": "explain()",
    "sink_batches": "map_batches(function), which is called with each rank's rows",
    "sink_csv": "write_csv(directory)",
    "sink_delta": "write_parquet(directory)",
    "sink_iceberg": "write_parquet(directory)",
    "sink_ipc": "write_ipc(directory)",
    "sink_ndjson": "write_ndjson(directory)",
    "sink_parquet": "write_parquet(directory)",
    "sql": "filter, select, join, group_by and sort, or gather().sql(query) for a table that fits on a rank",
    "to_dicts": "gather().to_dicts(), or collect() for this rank's rows",
    "transpose": "pivot and unpivot, or gather().transpose()",
    "with_context": "join(other, how='cross') for a table of one row",
    "with_row_count": "with_row_index(...)",
}


def refusal(name: str, known: Sequence[str]) -> str:
    """What to say to a user who asks a table for an attribute that it has not."""
    if name in _NEAREST:
        return f"a Table has no {name!r}. The nearest: {_NEAREST[name]}"
    if hasattr(pl.DataFrame, name) and not name.startswith("_"):
        return f"a Table has no {name!r}. gather() gives all rows as a polars.DataFrame, which has it"
    close = difflib.get_close_matches(name, known, n=1)
    return f"a Table has no {name!r}." + (f" Did you mean {close[0]!r}?" if close else " dir(table) lists what it has")
