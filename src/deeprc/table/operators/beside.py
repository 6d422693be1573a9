"""Tables side by side: rows of the same number meet where those of the first full table are."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from deeprc.errors import DataError
from deeprc.table.exchange.exchange import replicate
from deeprc.table.operators.rows import aligned
from deeprc.table.plan.row_nodes import Beside
from deeprc.table.stage import Execution, Stage


def run_beside(node: Beside, run: Execution) -> Stage:
    """Only rows that are not yet where they belong travel.

    Raises:
        DataError: the tables differ in how many rows they have; on all ranks alike.
    """
    measured = [run.measure(run.stage(table).frame, node) for table in node.tables]
    heights = [[rows for rows, _ in facts] for _, facts in measured]
    totals = [sum(rows) for rows in heights]
    most = common_rows(node, totals)
    sizes = heights[totals.index(most)]
    columns: list[pl.Series] = []
    for (part, _), rows, total in zip(measured, heights, totals, strict=True):
        if total == 1 and most != 1:
            once = replicate(part, run.comm, node.label())
            columns += once[[0] * sizes[run.comm.rank]].get_columns()
        else:
            columns += aligned(part, rows, sizes, run, node.label()).get_columns()
    return Stage(pl.DataFrame(columns).lazy())


def common_rows(node: Beside, totals: Sequence[int]) -> int:
    """How many rows the result has, of tables of so many.

    Raises:
        DataError: they differ.
    """
    most = next((total for total in totals if total != 1), 1)
    if any(total != most and not (node.broadcast and total == 1) for total in totals):
        said = (f"{total} of {table.schema.names()}" for total, table in zip(totals, node.tables, strict=True))
        raise DataError(f"columns side by side have to have as many rows each, not {', '.join(said)}")
    return most
