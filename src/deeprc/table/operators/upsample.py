"""A table in steps of time: each rank makes the moments from its first one to the next rank's."""

from __future__ import annotations

import polars as pl

from deeprc.errors import DataError
from deeprc.table.exchange.exchange import together
from deeprc.table.operators.times import sorted_ends
from deeprc.table.operators.whole import run_whole
from deeprc.table.plan.row_nodes import Upsampled
from deeprc.table.stage import Execution, Stage


def run_upsampled(node: Upsampled, run: Execution) -> Stage:
    """Rows stay where they are, and one row a rank says where the next one begins.

    Raises:
        DataError: the table is not sorted, or has no moments; on all ranks alike.
    """
    dtype = node.input.schema[node.index]
    steps_of_days = not set("hmsnu") & set(node.every.replace("mo", ""))
    if run.comm.size == 1 or not (dtype.is_integer() or isinstance(dtype, pl.Datetime) or steps_of_days):
        return run_whole(node, run)
    frame = run.collect(run.stage(node.input).frame.drop_nulls(node.index), node)
    ends = sorted_ends(frame[node.index], node, run)
    if ends is None or ends.is_empty():
        wrong = "is not sorted by it: sort it first" if ends is None else "has no values in it"
        raise DataError(f"upsample {node.index}: the table {wrong}")
    firsts = ends.filter(pl.int_range(pl.len()) % 2 == 0)
    later = firsts.filter(pl.nth(1) > run.comm.rank).to_series(0).head(1)

    def rows() -> pl.DataFrame:
        if frame.is_empty():
            return pl.DataFrame(schema=node.schema)
        grid = _grid(ends.to_series(0), node)
        grid = grid.filter(grid >= frame[node.index][0])
        own = grid if later.is_empty() else grid.filter(grid < later[0])
        # Where the next rank begins it is the one to say that there are no rows; some may be here.
        shared = grid.filter(grid == later[0]) if len(later) else grid.clear()
        left, both = own.to_frame(), shared.to_frame()
        return pl.concat(
            [
                left.join(frame, on=node.index, how="left", maintain_order="left_right"),
                both.join(frame, on=node.index, how="inner", maintain_order="left_right"),
            ]
        )

    return Stage(together(run.comm, f"computing {node.label()}", rows, lambda _: None)[0].lazy())


def _grid(moments: pl.Series, node: Upsampled) -> pl.Series:
    """All steps from the first of the moments to the last."""
    ends = pl.DataFrame({"first": moments.head(1), "last": moments.tail(1)})
    if moments.dtype.is_integer():
        last = pl.col("last") + 1
        steps = pl.int_range("first", last, int(node.every.removesuffix("i"))).cast(moments.dtype)
    elif moments.dtype == pl.Date:
        steps = pl.date_range("first", "last", node.every)
    else:
        steps = pl.datetime_range("first", "last", node.every)
    return ends.select(steps.alias(node.index)).to_series()
